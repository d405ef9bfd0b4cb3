"""Fixtures that more than one test file uses."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from channels.layers import channel_layers, get_channel_layer
from django.core.cache import cache

from realtime.engine import SharedMessage
from realtime.engine.testing.client import Client, open_socket
from realtime.engine.testing.server import PostgresProcess, RedisProcess, ServerProcess, demo_database

#: Of both demo users, in every test database.
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database with the demo users ``admin`` and ``ann``; copied for each server."""
    return demo_database(PASSWORD)


@pytest.fixture
def database_copy(database: Path, tmp_path: Path) -> Path:
    """A copy of the demo database for the servers of one test."""
    copy = tmp_path / "db.sqlite3"
    copy.write_bytes(database.read_bytes())
    return copy


@pytest.fixture(scope="session")
def server(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The project on Daphne, shared by every test that leaves it as it was."""
    copy = tmp_path_factory.mktemp("server") / "db.sqlite3"
    copy.write_bytes(database.read_bytes())
    with ServerProcess(database=copy) as process:
        yield process


@pytest.fixture
async def socket(server: ServerProcess) -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """Opens a connection to the shared server: ``client = await socket("/ws")``; all are closed after the test."""
    async with contextlib.AsyncExitStack() as clients:

        async def open_path(path: str, **options: Any) -> Client:
            return await clients.enter_async_context(await open_socket(server.ws(path), **options))

        yield open_path


@pytest.fixture
async def channel_layer() -> Any:
    """The channel layer of the settings, new for each test."""
    return get_channel_layer()


@pytest.fixture(scope="session")
def password() -> str:
    """The password of both demo users."""
    return PASSWORD


@pytest.fixture(scope="session")
def npm_package(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Fetches a package of npm, ``npm_package("axe-core@4.14.1")``, and returns the directory of its files.

    Skips without npm or without its registry; fails instead where CI is set.
    """
    fetched: dict[str, Path] = {}

    def fetch(name: str) -> Path:
        refuse = pytest.fail if "CI" in os.environ else pytest.skip
        if shutil.which("npm") is None:
            refuse("npm is not installed")
        if name not in fetched:
            directory = tmp_path_factory.mktemp("npm")
            command = ["npm", "pack", "--silent", "--pack-destination", str(directory), name]
            packed = subprocess.run(command, cwd=directory, capture_output=True, text=True)
            if packed.returncode:
                refuse(f"{name} cannot be had from npm: {packed.stderr[-300:]}")
            [archive] = directory.glob("*.tgz")
            with tarfile.open(archive) as files:
                files.extractall(directory, filter="data")
            fetched[name] = directory / "package"
        return fetched[name]

    return fetch


@pytest.fixture
def redis_server() -> Iterator[RedisProcess]:
    """A Redis server of this test's own, to kill, hold up and start again."""
    if shutil.which("redis-server") is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("redis-server is not installed")
    server = RedisProcess()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresProcess]:
    """A PostgreSQL server for the whole run; ``create_database()`` gives a test one of its own."""
    try:
        server = PostgresProcess()
    except FileNotFoundError as error:
        (pytest.fail if "CI" in os.environ else pytest.skip)(str(error))
    yield server
    server.stop()


class ScriptedConnection:
    """The server's side of one ASGI connection, driven by a test.

    Args:
        application: an ASGI application.
        scope: changes to a plain ``/ws`` handshake.
    """

    def __init__(self, application: Any, **scope: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        self._to_application: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._news = asyncio.Event()
        self.scope = {
            "type": "websocket",
            "path": "/ws",
            "query_string": b"",
            "headers": [(b"host", b"testserver")],
            "extensions": {"websocket.http.response": {}, "websocket.policy": {"send_nowait": self._send_nowait}},
            **scope,
        }
        self.shared: list[SharedMessage] = []
        self.task = asyncio.create_task(application(self.scope, self._to_application.get, self._send))
        self.task.add_done_callback(lambda _: self._news.set())
        self.give("websocket.connect")

    def give(self, kind: str, **fields: Any) -> None:
        """Hand an event to the application."""
        self._to_application.put_nowait({"type": kind, **fields})

    async def until(self, count: int) -> list[dict[str, Any]]:
        """Wait until the application has sent ``count`` events or is over, and return them all."""
        while len(self.sent) < count and not self.task.done():
            self._news.clear()
            await self._news.wait()
        if len(self.sent) < count:
            self.task.result()  # raises what the application has failed with
        return self.sent

    async def end(self, code: int = 1000) -> list[dict[str, Any]]:
        """Disconnect, wait for the application, and return what it sent."""
        self.give("websocket.disconnect", code=code, reason="")
        await self.task
        return self.sent

    async def _send(self, event: dict[str, Any]) -> None:
        self.sent.append(event)
        self._news.set()

    def _send_nowait(self, message: SharedMessage) -> None:
        self.shared.append(message)


@pytest.fixture
def connect() -> Callable[..., ScriptedConnection]:
    """Start an ASGI application on a scripted connection."""
    return ScriptedConnection


@pytest.fixture(autouse=True)
def _fresh_state() -> Iterator[None]:
    """No channel layer and no cache entry outlives a test."""
    yield
    channel_layers.backends.clear()
    cache.clear()
