"""Servers, users and clients for the tests of the rooms.

Tests that speak to a server run twice: on SQLite with one process, and on PostgreSQL and Redis with two.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import websockets
from rest_framework_simplejwt.tokens import AccessToken

from realtime.engine.testing import PROJECT_ROOT, PostgresProcess, RedisProcess, ServerProcess

#: Seconds that a message may take on a busy machine; nothing waits that long unless the test fails.
TIMEOUT = 30

#: The tests make more rooms than a person does.
ROOM_CREATION = {"REALTIME_ROOM_CREATION": "authenticated", "REALTIME_ROOMS_PER_HOUR": "0"}

#: Users of every test database, with their primary keys.
USERS = {
    name: 101 + number
    for number, name in enumerate(
        [
            "alice",
            "bob",
            "carol",
            "dave",
            "staff",
            "deactivated",
            "renewed",
            "deleted",
            "disconnected",
            "updated",
            "hasty",
            "prolific",
            "parallel",
            "demoted",
            "updated-staff",
            "browsing",
        ]
    )
}

CREATE_USERS = """
from realtime.engine.testing import create_user
for name, pk in {users}.items():
    password = "secret" if name == "browsing" else None
    is_staff = name in ("staff", "demoted", "updated-staff")
    create_user(name, password, pk=pk, is_staff=is_staff, is_superuser=name == "staff")
"""


class RoomClient:
    """A WebSocket client that speaks JSON."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket

    async def send(self, kind: str, **fields: Any) -> None:
        """Send one message."""
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def receive(self) -> dict[str, Any]:
        """Return the next message."""
        message: dict[str, Any] = json.loads(await asyncio.wait_for(self.socket.recv(), TIMEOUT))
        return message

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Return the next message of a type and with some fields; what comes before it is dropped."""
        while True:
            message = await self.receive()
            if message["type"] == kind and fields.items() <= message.items():
                return message

    async def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send one message and return the next one that comes."""
        await self.send(kind, **fields)
        return await self.receive()

    async def join(self, room: str, **fields: Any) -> dict[str, Any]:
        """Join a room and return the answer."""
        await self.send("Join", room=room, **fields)
        return await self.until("Joined", room=room)

    async def say(self, content: str, **fields: Any) -> dict[str, Any]:
        """Send a message to a room and return the ``Ack``."""
        ref = fields.pop("ref", uuid.uuid4().hex)
        await self.send("Chat", content=content, ref=ref, **fields)
        return await self.until("Ack", ref=ref)

    async def seen_so_far(self) -> list[dict[str, Any]]:
        """Return everything that the server had sent before it answered a ``Ping`` of now."""
        await self.send("Ping")
        seen = []
        while (message := await self.receive())["type"] != "Pong":
            seen.append(message)
        return seen


class CommandProcess:
    """A process that knows a site's settings, as a management command or a worker would, and runs Python code.

    The code has the user model as ``User``.

    Args:
        environment: of the site.
    """

    PROGRAM = """
import contextlib, json, sys
import django
django.setup()
from django.contrib.auth import get_user_model
for line in sys.stdin:
    with contextlib.redirect_stdout(sys.stderr):
        exec(json.loads(line), {"User": get_user_model()})
    print("done", flush=True)
"""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM],
            cwd=PROJECT_ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str) -> None:
        """Run code and wait for its end."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(code) + "\n")
        stdin.flush()
        assert stdout.readline() == "done\n"

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@dataclass
class Site:
    """Server processes that share a database.

    Args:
        processes: the processes; a single one stands twice.
        environment: their environment.
        commands: the process for ``manage()``.
    """

    processes: list[ServerProcess]
    environment: dict[str, str]
    commands: CommandProcess | None = None
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    @property
    def other(self) -> ServerProcess:
        """A process that is not the first one, where there are several."""
        return self.processes[-1]

    async def client(
        self,
        user: str | None = None,
        *,
        path: str = "/ws/rooms",
        process: ServerProcess | None = None,
        **claims: Any,
    ) -> RoomClient:
        """Return a connected client.

        Args:
            user: name of the user; None for an anonymous one.
            path: path of the endpoint.
            process: the process to connect to; the first by default.
            claims: of the user's token.
        """
        headers = {"Authorization": f"Bearer {self.token(user, **claims)}"} if user else {}
        socket = await self._stack.enter_async_context(
            # Without a bound on what is received, a client that a test does not read can still be closed.
            websockets.connect(
                (process or self.processes[0]).ws(path), additional_headers=headers, max_queue=None, max_size=None
            )
        )
        return RoomClient(socket)

    @staticmethod
    def token(user: str, **claims: Any) -> str:
        """Return an access token of a user, with some claims changed."""
        token = AccessToken()
        token["user_id"] = str(USERS[user])
        token.payload.update(claims)
        return str(token)

    async def api(self, method: str, path: str, user: str | None = None, /, **data: Any) -> tuple[int, Any]:
        """Send a request to the HTTP API and return status and JSON."""
        return await asyncio.to_thread(self._api, method, path, user, data)

    async def manage(self, code: str) -> None:
        """Run Python code in another process, as a command or a worker would."""
        assert self.commands is not None
        await asyncio.to_thread(self.commands.run, code)

    def _api(self, method: str, path: str, user: str | None, data: dict[str, Any]) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"}
        if user is not None:
            headers["Authorization"] = f"Bearer {self.token(user)}"
        body = json.dumps(data).encode() if data else None
        request = urllib.request.Request(self.other.http(path), data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                return response.status, json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    async def close(self) -> None:
        """Close the clients."""
        await self._stack.aclose()


def manage(code: str, database_url: str) -> None:
    """Run Python code under ``manage.py shell``."""
    subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "--command", code],
        cwd=PROJECT_ROOT,
        env={**os.environ, "DATABASE_URL": database_url, "DJANGO_DEBUG": "1"},
        check=True,
        stdout=subprocess.DEVNULL,
    )


@pytest.fixture(scope="session")
def sqlite_environment(database: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A database with users on SQLite, and no Redis."""
    copy = tmp_path_factory.mktemp("rooms") / "db.sqlite3"
    copy.write_bytes(database.read_bytes())
    environment = {"DATABASE_URL": f"sqlite:///{copy}", **ROOM_CREATION}
    manage(CREATE_USERS.replace("{users}", repr(USERS)), environment["DATABASE_URL"])
    return environment


@pytest.fixture(scope="session")
def new_postgresql_database(postgresql_server: PostgresProcess, password: str) -> Callable[[], str]:
    """Return the address of a database with the demo data on PostgreSQL, new each time; migrated only once."""
    template = postgresql_server.create_database()
    manage(f"from django.core.management import call_command; call_command('demo', password={password!r})", template)

    def copy() -> str:
        address, _, name = template.rpartition("/")
        copied = f"copy_{uuid.uuid4().hex}"
        with psycopg.connect(f"{address}/postgres".replace("postgres:", "postgresql:"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {copied} TEMPLATE {name}")
        return f"{address}/{copied}"

    return copy


@pytest.fixture(scope="session")
def postgresql_environment(new_postgresql_database: Callable[[], str]) -> dict[str, str]:
    """A database with users on PostgreSQL."""
    url = new_postgresql_database()
    manage(CREATE_USERS.replace("{users}", repr(USERS)), url)
    return {"DATABASE_URL": url, **ROOM_CREATION}


@pytest.fixture(scope="session")
def _sites(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Site]]:
    """Starts each site once."""
    sites: dict[str, Site] = {}
    with contextlib.ExitStack() as stack:

        def start(kind: str) -> Site:
            if kind not in sites:
                starter = {"sqlite": _start_on_sqlite, "postgresql": _start_on_postgresql}[kind]
                sites[kind] = site = starter(request, stack)
                site.commands = CommandProcess(site.environment)
                stack.callback(site.commands.close)
            return sites[kind]

        yield start


def _start_on_sqlite(request: pytest.FixtureRequest, stack: contextlib.ExitStack) -> Site:
    environment = request.getfixturevalue("sqlite_environment")
    return Site([stack.enter_context(ServerProcess(env=environment))] * 2, environment)


def _start_on_postgresql(request: pytest.FixtureRequest, stack: contextlib.ExitStack) -> Site:
    redis = request.getfixturevalue("session_redis")
    environment = {**request.getfixturevalue("postgresql_environment"), "REDIS_URL": redis.url}
    return Site([stack.enter_context(ServerProcess(env=environment)) for _ in range(2)], environment)


@pytest.fixture(scope="session")
def session_redis() -> Iterator[RedisProcess]:
    """A Redis server that no test disturbs."""
    try:
        server = RedisProcess()
    except FileNotFoundError as error:
        (pytest.fail if "CI" in os.environ else pytest.skip)(str(error))
    yield server
    server.kill()


@pytest.fixture(params=["sqlite", "postgresql"])
async def site(request: pytest.FixtureRequest, _sites: Callable[[str], Site]) -> AsyncIterator[Site]:
    """One process on SQLite, or two on PostgreSQL and Redis, with the users of ``USERS``."""
    shared = _sites(request.param)
    own = Site(shared.processes, shared.environment, shared.commands)
    yield own
    await own.close()


@pytest.fixture
def room() -> str:
    """The name of a room that no other test uses."""
    return f"room-{uuid.uuid4().hex[:12]}"
