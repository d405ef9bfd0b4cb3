"""Fixtures of pytest for ``conftest.py``: ``from realtime.engine.testing.fixtures import *``.

They need the fixtures ``database``, a migrated SQLite file, and ``server``, a running ``ServerProcess``.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from channels.layers import channel_layers, get_channel_layer
from django.core.cache import cache

from realtime.engine.protocol.messages import SharedMessage
from realtime.engine.testing.client import Client, open_socket
from realtime.engine.testing.processes import PostgresProcess, RedisProcess, ServerProcess

if TYPE_CHECKING:
    from realtime.engine.testing.typed import TypedSocket

__all__ = [
    "ScriptedConnection",
    "channel_layer",
    "connect",
    "database_copy",
    "fresh_state",
    "live_connect",
    "postgresql_server",
    "redis_server",
    "socket",
    "start_redis",
]


@pytest.fixture
def database_copy(database: Path, tmp_path: Path) -> Path:
    """A copy of the demo database for the servers of one test."""
    copy = tmp_path / "db.sqlite3"
    copy.write_bytes(database.read_bytes())
    return copy


@pytest.fixture
async def socket(server: ServerProcess) -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """Opens a connection to the shared server: ``client = await socket("/ws")``; all are closed after the test."""
    async with contextlib.AsyncExitStack() as clients:

        async def open_path(path: str, **options: Any) -> Client:
            return await clients.enter_async_context(await open_socket(server.ws(path), **options))

        yield open_path


@pytest.fixture
def live_connect(server: ServerProcess) -> Callable[..., contextlib.AbstractAsyncContextManager[TypedSocket]]:
    """Opens a typed socket on the shared server: ``async with live_connect(PollConsumer) as socket``."""
    from realtime.engine.testing.typed import connect_to  # needs the app registry, and not every test does

    return functools.partial(connect_to, server)


@pytest.fixture
async def channel_layer() -> Any:
    """The channel layer of the settings, new for each test."""
    return get_channel_layer()


def start_redis() -> Iterator[RedisProcess]:
    """Yield a Redis server for a fixture of any scope, and end it; without the program its tests are skipped."""
    if shutil.which("redis-server") is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("redis-server is not installed")
    server = RedisProcess()
    yield server
    server.kill()


@pytest.fixture
def redis_server() -> Iterator[RedisProcess]:
    """A Redis server of this test's own, to kill, hold up and start again."""
    yield from start_redis()


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

    async def news(self) -> None:
        """Wait until the application has sent one more event or message, or is over."""
        self._news.clear()
        await self._news.wait()

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
        self._news.set()


@pytest.fixture
def connect() -> Callable[..., ScriptedConnection]:
    """Start an ASGI application on a scripted connection."""
    return ScriptedConnection


@pytest.fixture(autouse=True)
def fresh_state() -> Iterator[None]:
    """No channel layer and no cache entry outlives a test."""
    yield
    channel_layers.backends.clear()
    cache.clear()
