"""Limits on connections, by what clients of real servers notice."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import websockets
from django.contrib.auth import get_user_model
from rest_framework_simplejwt.tokens import AccessToken
from websockets.exceptions import InvalidStatus

from realtime.engine.connections import slots as slots_module
from realtime.engine.connections.slots import SharedSlots
from realtime.engine.layer.options import Timing
from realtime.engine.layer.redis.hosts import Host, Hosts
from realtime.engine.testing import RedisProcess, ServerProcess
from realtime.engine.testing.fixtures import start_redis

LIMIT = 10

LIMITS = {
    "REALTIME_CONNECTIONS_PER_USER": str(LIMIT),
    "REALTIME_CONNECTIONS_PER_ADDRESS": str(LIMIT),
    "REALTIME_TRUSTED_PROXIES": "1",
}

#: A demo user; its copies are for one test each.
ANN = 2
COPIES = range(100, 130)

_users = iter(COPIES)
_hosts = itertools.count(1)


def new_address() -> str:
    return f"198.51.100.{next(_hosts)}"


def token(user_id: int) -> str:
    token = AccessToken()
    token["user_id"] = str(user_id)
    return str(token)


class Clients:
    """Opens connections, and closes them after the test."""

    def __init__(self) -> None:
        self._stack = contextlib.AsyncExitStack()

    async def status(self, server: ServerProcess, user_id: int | None = None, *, address: str = "") -> int:
        """Return what a handshake is answered; an accepted connection stays open."""
        headers = {"X-Forwarded-For": address or new_address()}
        if user_id is not None:
            headers["Authorization"] = f"Bearer {token(user_id)}"
        connection = websockets.connect(server.ws("/ws/sign-in"), additional_headers=headers, open_timeout=30)
        try:
            await self._stack.enter_async_context(connection)
        except InvalidStatus as refusal:
            if "Retry-After" not in refusal.response.headers:
                raise
            return refusal.response.status_code
        return 101

    async def together(self, count: int, servers: list[ServerProcess], **options: object) -> Counter[int]:
        """Make handshakes at the same time, in turns to each server, and count the answers."""
        attempts = (self.status(servers[number % len(servers)], **options) for number in range(count))
        return Counter(await asyncio.gather(*attempts))

    async def close(self) -> None:
        await self._stack.aclose()


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    made = Clients()
    yield made
    await made.close()


@pytest.fixture
def user() -> int:
    """A user who holds no slot."""
    return next(_users)


@pytest.fixture(scope="module")
def database_of_users(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo database with more users."""
    copy = tmp_path_factory.mktemp("slots") / "db.sqlite3"
    copy.write_bytes(database.read_bytes())
    users = get_user_model()
    table, key, login = users._meta.db_table, users._meta.pk.column, users.USERNAME_FIELD
    with contextlib.closing(sqlite3.connect(copy)) as connection, connection:
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        others = ", ".join(name for name in names if name not in (key, login))
        for user in COPIES:
            connection.execute(
                f"INSERT INTO {table} ({key}, {login}, {others}) SELECT ?, ?, {others} FROM {table} WHERE {key} = ?",
                (user, f"user-{user}", ANN),
            )
    return copy


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisProcess]:
    """A Redis server for all tests that leave it alone."""
    yield from start_redis()


@pytest.fixture(scope="module")
def start(database_of_users: Path) -> Iterator[Callable[..., list[ServerProcess]]]:
    """Start server processes that share a database and, where one is given, a Redis."""
    with contextlib.ExitStack() as stack:

        def start(count: int, redis: RedisProcess | None = None, **env: str) -> list[ServerProcess]:
            environment = {**LIMITS, **env, "REDIS_URL": redis.url if redis else None, "WEB_CONCURRENCY": str(count)}
            servers = [ServerProcess(env=environment, database=database_of_users) for _ in range(count)]
            return [stack.enter_context(server) for server in servers]

        yield start


@pytest.fixture(scope="module", params=[1, 2])
def servers(request: pytest.FixtureRequest, start: Callable[..., list[ServerProcess]]) -> list[ServerProcess]:
    """One process without Redis, or two with it."""
    return start(request.param, request.getfixturevalue("redis") if request.param > 1 else None)


async def test_parallel_handshakes_of_one_user_pass_the_limit_exactly(servers, clients, user: int) -> None:
    assert await clients.together(60, servers, user_id=user) == {101: LIMIT, 429: 60 - LIMIT}
    assert await clients.status(servers[0], next(_users)) == 101


async def test_parallel_handshakes_of_one_address_pass_the_limit_exactly(servers, clients) -> None:
    assert await clients.together(60, servers, address="192.0.2.7") == {101: LIMIT, 429: 60 - LIMIT}
    assert await clients.status(servers[0], address="192.0.2.8") == 101


async def test_connections_that_have_ended_make_room(servers, clients, user: int) -> None:
    await clients.together(LIMIT, servers, user_id=user)
    assert await clients.status(servers[0], user) == 429
    await clients.close()
    # A server notices the end of a connection a moment after its client.
    while (answers := await clients.together(LIMIT, servers, user_id=user)) != {101: LIMIT}:
        assert answers[101] + answers[429] == LIMIT
        await clients.close()


async def test_a_handshake_that_is_given_up_leaves_no_slot_taken(servers, clients) -> None:
    for number in range(3 * LIMIT):
        server = servers[number % len(servers)]
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(
                b"GET /ws/sign-in HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                b"X-Forwarded-For: 192.0.2.9\r\n\r\n"
            )
    while await clients.together(LIMIT, servers, address="192.0.2.9") != {101: LIMIT}:
        await clients.close()


async def test_the_slots_of_a_killed_process_come_back(start, redis_server: RedisProcess, clients, user: int) -> None:
    doomed, survivor = start(2, redis_server, REALTIME_LEASE_SECONDS="2")
    await clients.together(LIMIT, [doomed], user_id=user)
    assert await clients.status(survivor, user) == 429
    redis_server.command("CONFIG SET notify-keyspace-events Ex")
    events, request = await asyncio.open_connection("127.0.0.1", redis_server.port)
    with contextlib.closing(request):
        request.write(b"SUBSCRIBE __keyevent@0__:expired\r\n")
        await events.readuntil(b"subscribe")
        doomed.kill()
        await events.readuntil(b":slots:")
    assert await clients.together(2 * LIMIT, [survivor], user_id=user) == {101: LIMIT, 429: LIMIT}


async def test_without_redis_each_process_counts_for_itself_and_afterwards_together_again(
    start, redis_server: RedisProcess, clients, user: int
) -> None:
    first, second = start(2, redis_server)
    assert await clients.status(second, next(_users)) == 101
    assert await clients.together(6, [first], user_id=user) == {101: 6}
    redis_server.kill()
    assert await clients.together(6, [first], user_id=user) == {101: LIMIT - 6, 429: 2}
    assert await clients.together(2, [second], user_id=user) == {101: 2}
    redis_server.start()
    while not all("counted in Redis again" in server.log for server in (first, second)):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    # Redis has forgotten everything, and knows all that is open: the twelve of the user.
    assert await clients.status(second, user) == 429
    assert await clients.status(second, next(_users)) == 101


async def test_an_anonymous_connection_that_signs_in_takes_one_of_the_users_slots(servers, clients, user: int) -> None:
    await clients.together(LIMIT - 1, servers, user_id=user)
    sockets = [
        await clients._stack.enter_async_context(websockets.connect(server.ws("/ws/sign-in")))
        for server in (servers[0], servers[-1])
    ]
    answers = []
    for client in sockets:
        await client.send(token(user))
        answers.append(await client.recv())
    assert answers == ["signed in", "429"]
    assert await clients.status(servers[0], user) == 429
    await sockets[1].send(token(next(_users)))
    assert await sockets[1].recv() == "signed in"


async def test_addresses_of_one_ipv6_network_share_its_slots(servers, clients) -> None:
    statuses = [await clients.status(servers[0], address=f"2001:db8::{number:x}") for number in range(LIMIT + 1)]
    assert statuses == [101] * LIMIT + [429]
    assert await clients.status(servers[0], address="2001:db8:0:1::1") == 101


async def test_each_ipv4_address_has_its_own_slots_on_a_server_that_listens_on_ipv6(servers, clients) -> None:
    statuses = [await clients.status(servers[0], address=f"::ffff:192.0.2.{number}") for number in range(LIMIT + 1)]
    assert statuses == [101] * (LIMIT + 1)


async def end(slots: SharedSlots, host: Host) -> None:
    slots._task.cancel()
    await asyncio.wait([slots._task])
    await host.close_client()


async def test_a_redis_that_goes_and_comes_costs_one_connection_to_its_sentinel(
    sentinel, redis_server: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots_module, "RETRY", 0)
    host = Hosts([sentinel.host], Timing())[0]
    slots = SharedSlots(host, prefix="test")
    for number in range(1, 4):
        assert await slots.take({"user:7": 100}) is None
        while await asyncio.to_thread(redis_server.command, "SCARD test:slots") != b":1\r\n":
            pass
        assert sentinel.connections() == 1
        await asyncio.to_thread(redis_server.kill)
        assert await slots.take({"user:7": 100}) is None
        assert slots.held["user:7"] == 2 * number
        await asyncio.to_thread(redis_server.start)
    await end(slots, host)
    assert sentinel.connections() == 0


async def test_the_count_of_all_processes_can_be_ended_while_it_asks_sentinel(sentinel) -> None:
    host = Hosts([sentinel.host], Timing())[0]
    for turns in range(12):
        slots = SharedSlots(host, prefix="test")
        for _ in range(turns):
            await asyncio.sleep(0)  # one turn of the loop
        await end(slots, host)
