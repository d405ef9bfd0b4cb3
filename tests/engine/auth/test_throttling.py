from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from realtime.engine.auth import throttling
from realtime.engine.auth.throttling import Count
from realtime.engine.consumers.consumer import PolicyConsumer
from realtime.engine.protocol.errors import HandshakeRejected
from realtime.engine.testing import free_port

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESS = ("192.0.2.7", 50000)


class Open(PolicyConsumer):
    pass


class Members(PolicyConsumer):
    authentication = "required"


async def answer(connect, consumer=Open, client: Any = ADDRESS, **scope: Any):
    connection = connect(consumer.as_asgi(), client=client, **scope)
    event = (await connection.until(1))[0]
    if event["type"] == "websocket.accept":
        return 101, connection
    await connection.task
    headers = dict(event["headers"])
    if event["status"] == 429:
        assert 1 <= int(headers[b"retry-after"]) <= 60
        assert json.loads(connection.sent[1]["body"])["status"] == 429
    return event["status"], connection


async def statuses(connect, count: int, **options: Any) -> list[int]:
    found = []
    for _ in range(count):
        status, connection = await answer(connect, **options)
        found.append(status)
        if status == 101:
            await connection.end()
    return found


@pytest.fixture(autouse=True)
def _one_window(monkeypatch) -> None:
    monkeypatch.setattr(throttling, "_now", lambda: 1_000_000)


async def test_handshakes_of_one_address_are_limited(connect, settings) -> None:
    settings.REALTIME_HANDSHAKES_PER_MINUTE = 2
    assert await statuses(connect, 4) == [101, 101, 429, 429]
    assert await statuses(connect, 1, client=("192.0.2.8", 1)) == [101]


@pytest.mark.parametrize("client", [("127.0.0.1", 1), ("::1", 1), None])
async def test_this_machine_is_not_limited(connect, settings, client) -> None:
    settings.REALTIME_HANDSHAKES_PER_MINUTE = 1
    assert await statuses(connect, 3, client=client) == [101, 101, 101]


async def test_an_ipv6_network_counts_as_one(connect, settings) -> None:
    settings.REALTIME_HANDSHAKES_PER_MINUTE = 1
    assert await statuses(connect, 1, client=("2001:db8::1", 1)) == [101]
    assert await statuses(connect, 1, client=("2001:db8::2", 1)) == [429]
    assert await statuses(connect, 1, client=("2001:db8:0:1::1", 1)) == [101]


async def test_bad_credentials_of_one_address_are_limited(connect, settings) -> None:
    settings.REALTIME_AUTH_FAILURES_PER_MINUTE = 2
    bad = {"headers": [(b"host", b"testserver"), (b"authorization", b"Bearer garbage")]}
    assert await statuses(connect, 3, consumer=Members, **bad) == [401, 401, 429]
    # Who shows no credential has not failed, and other endpoints stay open.
    assert await statuses(connect, 1, consumer=Members) == [401]
    assert await statuses(connect, 1) == [101]


async def test_connections_of_one_address_are_limited(connect, settings) -> None:
    settings.REALTIME_CONNECTIONS_PER_ADDRESS = 2
    _, first = await answer(connect)
    _, second = await answer(connect)
    assert (await answer(connect))[0] == 429
    await first.end()
    status, third = await answer(connect)
    assert status == 101
    await second.end()
    await third.end()


async def test_an_endpoint_that_fails_gives_its_slot_back(connect, settings) -> None:
    class Failing(PolicyConsumer):
        async def connect(self) -> None:
            raise RuntimeError("of the endpoint")

    settings.REALTIME_CONNECTIONS_PER_ADDRESS = 1
    for _ in range(2):
        with pytest.raises(RuntimeError, match="of the endpoint"):
            await answer(connect, Failing)
    assert await statuses(connect, 1) == [101]


async def test_an_endpoint_that_refuses_gives_its_slot_back(connect, settings) -> None:
    class Closed(PolicyConsumer):
        async def handshake(self) -> None:
            raise HandshakeRejected(403, "closed on Sundays")

    settings.REALTIME_CONNECTIONS_PER_ADDRESS = 1
    assert await statuses(connect, 2, consumer=Closed) == [403, 403]
    assert await statuses(connect, 1) == [101]


async def test_a_cache_that_is_away_leaves_each_process_its_own_count(connect, settings, caplog) -> None:
    location = f"redis://127.0.0.1:{free_port()}/0"
    settings.CACHES = {
        name: {"BACKEND": "realtime.engine.services.cache.LimitCache", "LOCATION": location} for name in settings.CACHES
    }
    settings.REALTIME_HANDSHAKES_PER_MINUTE = 1
    assert await statuses(connect, 2) == [101, 429]
    assert "in this process alone while Redis is away" in caplog.text


class Clock:
    now = 1_000_079

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throttling, "_now", clock)
    return clock


def new_count() -> Count:
    return Count(uuid.uuid4().hex, 60)


def test_a_window_begins_with_its_first_event(clock: Clock) -> None:
    count = new_count()
    assert (count.add(), count.seconds_left()) == (1, 60)
    clock.now += 2  # a minute of the clock has begun meanwhile
    assert (count.add(), count.seconds_left()) == (2, 58)


def test_a_look_does_not_count() -> None:
    count = new_count()
    assert [count.add(0), count.add(), count.add(0), count.add(-1)] == [0, 1, 1, 0]


def test_a_count_that_is_reset_begins_at_zero() -> None:
    count = new_count()
    count.add(5)
    count.reset()
    assert count.add() == 1
