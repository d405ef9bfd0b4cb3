"""What waits to be published: bounded, in order, and never lost without a count."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest
from redis.asyncio import Redis

from realtime.engine.layer.options import LayerOptions, Timing
from realtime.engine.layer.redis import publisher as publisher_module
from realtime.engine.layer.redis.hosts import Hosts
from realtime.engine.layer.redis.publisher import Publisher


class Gate:
    """A server that can be reached when the gate is open."""

    def __init__(self):
        self.event = asyncio.Event()

    async def wait(self):
        await self.event.wait()


@pytest.fixture
async def gate():
    return Gate()


@pytest.fixture
async def client(shared_redis):
    client = Redis.from_url(shared_redis.url)
    yield client
    await client.aclose()


@pytest.fixture
async def heard(client):
    """Subscribe to ``out`` and return a way to take the next payload."""
    async with client.pubsub() as pubsub:
        await pubsub.subscribe("out")
        await pubsub.get_message(timeout=10)

        async def heard():
            async with asyncio.timeout(10):
                while (message := await pubsub.get_message(timeout=1)) is None:
                    pass
            return message["data"]

        yield heard


async def no_members(name, payload, channels):
    raise AssertionError(f"{name} is no group")


def new_publisher(url, gate, *, expiry, timeout):
    options = LayerOptions(expiry=expiry, timing=Timing(command=timeout))
    return Publisher(Hosts([url], options.timing)[0], options, gate.wait, no_members)


@pytest.fixture
async def make_publisher(shared_redis, gate):
    tasks = []

    def make(url=shared_redis.url, *, expiry=60.0, timeout=3.0):
        publisher = new_publisher(url, gate, expiry=expiry, timeout=timeout)
        tasks.append(asyncio.create_task(publisher.run()))
        return publisher

    yield make
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_messages_are_published_in_their_order(make_publisher, gate, heard):
    publisher = make_publisher()
    gate.event.set()
    for number in range(600):
        await publisher.publish("out", str(number).encode())
    assert [int(await heard()) for _ in range(600)] == list(range(600))


async def test_messages_wait_while_the_server_cannot_be_reached(make_publisher, gate, heard):
    publisher = make_publisher()
    for number in range(3):
        await publisher.publish("out", str(number).encode())
    gate.event.set()
    assert [int(await heard()) for _ in range(3)] == [0, 1, 2]


async def test_a_full_publisher_makes_the_sender_wait_and_then_loses_its_message(
    make_publisher, gate, caplog, monkeypatch
):
    monkeypatch.setattr(publisher_module, "MAX_WAITING_BYTES", 100)
    publisher = make_publisher(timeout=0.05)
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            await publisher.publish("out", b"x" * 50)
    assert publisher.statistics.unpublished == 2
    assert len([record for record in caplog.records if "are lost" in record.message]) == 1


async def test_a_sender_that_waits_goes_on_when_there_is_room(make_publisher, gate, heard, monkeypatch):
    monkeypatch.setattr(publisher_module, "MAX_WAITING_BYTES", 100)
    publisher = make_publisher()
    await publisher.publish("out", b"1" * 60)
    waiting = asyncio.create_task(publisher.publish("out", b"2" * 60))
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.event.set()
    await waiting
    assert [await heard() for _ in range(2)] == [b"1" * 60, b"2" * 60]


async def test_a_message_larger_than_the_publisher_goes_alone(make_publisher, gate, heard, monkeypatch):
    monkeypatch.setattr(publisher_module, "MAX_WAITING_BYTES", 100)
    publisher = make_publisher()
    gate.event.set()
    await publisher.publish("out", b"x" * 1000)
    assert len(await heard()) == 1000


async def test_a_message_that_waited_too_long_is_counted_as_lost(make_publisher, gate, heard, caplog, until):
    publisher = make_publisher(expiry=0.05)
    await publisher.publish("out", b"old")
    await asyncio.sleep(0.1)  # the expiry itself
    gate.event.set()
    await publisher.publish("out", b"new")
    assert await heard() == b"new"
    await until(lambda: publisher.statistics.published == 1)  # when the server has confirmed it
    assert publisher.statistics.unpublished == 1
    assert "have waited for more than 0.05 s" in caplog.text


async def test_another_thread_publishes(make_publisher, gate, heard):
    publisher = make_publisher()
    gate.event.set()
    await asyncio.to_thread(asyncio.run, publisher.publish("out", b"from a thread"))
    assert await heard() == b"from a thread"


class StoppingLock:
    """A lock that stops a thread when it has released the lock for the n-th time."""

    def __init__(self, releases: int) -> None:
        self._lock = threading.Lock()
        self._releases = releases
        self.thread: int | None = None
        self.released = threading.Event()
        self.go_on = threading.Event()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if threading.get_ident() != self.thread:
            return
        self._releases -= 1
        if self._releases == 0:
            self.released.set()
            self.go_on.wait(10)


@pytest.mark.parametrize("releases", [1, 2, 3])
async def test_room_that_comes_just_after_a_thread_found_none_wakes_it(
    make_publisher, gate, heard, until, monkeypatch, releases
):
    monkeypatch.setattr(publisher_module, "MAX_WAITING_BYTES", 100)
    publisher = make_publisher()
    lock = publisher._lock = StoppingLock(releases)
    await publisher.publish("out", b"1" * 60)

    def publish_from_a_thread():
        lock.thread = threading.get_ident()
        asyncio.run(publisher.publish("out", b"2" * 60))

    publishing = asyncio.create_task(asyncio.to_thread(publish_from_a_thread))
    await until(lambda: lock.released.is_set() or len(publisher._waiting) > 1)  # it has found no room
    gate.event.set()
    assert await heard() == b"1" * 60  # there is room, and nothing more is taken
    lock.go_on.set()
    await publishing
    assert publisher.statistics.unpublished == 0
    assert await heard() == b"2" * 60


async def test_what_is_left_is_published_at_the_end(shared_redis, gate, heard):
    publisher = new_publisher(shared_redis.url, gate, expiry=60, timeout=3)
    running = asyncio.create_task(publisher.run())
    await asyncio.sleep(0)
    await publisher.publish("out", b"farewell")
    running.cancel()
    await asyncio.wait([running])
    assert await heard() == b"farewell"


async def test_messages_that_the_server_refuses_are_counted_as_lost_and_the_others_not(
    redis_server, gate, make_publisher, caplog, until
):
    publisher = make_publisher(redis_server.url)
    redis_server.command("ACL SETUSER default resetchannels &out")
    for channel in ("out", "forbidden", "out"):
        await publisher.publish(channel, b"x")
    gate.event.set()
    await until(lambda: publisher.statistics.published == 2)
    assert publisher.statistics.unpublished == 1
    assert f"127.0.0.1:{redis_server.port}/0 refuses them" in caplog.text


async def published(publisher, until, *messages):
    """Publish, and wait until the server has answered."""
    settled = publisher.statistics.published + publisher.statistics.unpublished + len(messages)
    for channel, payload in messages:
        await publisher.publish(channel, payload)
    await until(lambda: publisher.statistics.published + publisher.statistics.unpublished == settled)


async def test_all_messages_go_by_one_connection_in_their_order(redis_server, make_publisher, gate, until):
    publisher = make_publisher(redis_server.url)
    gate.event.set()
    async with Redis.from_url(redis_server.url) as client, client.pubsub() as pubsub:
        await pubsub.subscribe("out")
        await pubsub.get_message(timeout=10)
        await published(publisher, until, ("out", b"1"), ("elsewhere", b"2"))
        connections = (await client.info("stats"))["total_connections_received"]
        await published(publisher, until, ("out", b"3"))
        await published(publisher, until, ("out", b"4"), ("out", b"5"))
        heard = [(await pubsub.get_message(timeout=10))["data"] for _ in range(4)]
        assert (await client.info("stats"))["total_connections_received"] == connections
    assert heard == [b"1", b"3", b"4", b"5"]


async def test_a_connection_that_the_server_has_closed_is_made_again(redis_server, make_publisher, gate, until):
    publisher = make_publisher(redis_server.url)
    gate.event.set()
    await published(publisher, until, ("out", b"1"))
    redis_server.command("CLIENT KILL TYPE normal SKIPME yes")
    await published(publisher, until, ("out", b"2"))
    assert (publisher.statistics.published, publisher.statistics.unpublished) == (2, 0)


async def test_a_server_that_is_gone_is_an_error_and_one_that_is_back_is_found(
    redis_server, make_publisher, gate, until
):
    publisher = make_publisher(redis_server.url)
    gate.event.set()
    await published(publisher, until, ("out", b"1"))
    redis_server.kill()
    await published(publisher, until, ("out", b"2"))
    assert publisher.statistics.unpublished == 1
    redis_server.start()
    await published(publisher, until, ("out", b"3"))
    assert publisher.statistics.published == 2


async def test_an_answer_that_came_too_late_is_not_taken_for_the_next_one(redis_server, make_publisher, gate, until):
    publisher = make_publisher(redis_server.url, timeout=0.2)
    gate.event.set()
    await published(publisher, until, ("out", b"1"))
    redis_server.pause()
    try:
        await published(publisher, until, ("out", b"2"), ("out", b"3"))
    finally:
        redis_server.resume()
    publisher._timeout = 10
    redis_server.command("ACL SETUSER default resetchannels &out")
    lost = publisher.statistics.unpublished
    await published(publisher, until, ("forbidden", b"4"))
    assert publisher.statistics.unpublished == lost + 1
