"""The connection on which a process receives the messages of the others: what it subscribes to, and for how long."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from redis.asyncio import Redis

from realtime.engine.layer.options import LayerOptions, Timing
from realtime.engine.layer.redis import subscriber as subscriber_module
from realtime.engine.layer.redis.hosts import Hosts
from realtime.engine.layer.redis.subscriber import Subscriber


class Heard:
    """A subscriber at work, and what it has heard."""

    def __init__(self, url: str, wanted: list[str], linger: float, silence: float) -> None:
        self.payloads: asyncio.Queue[bytes] = asyncio.Queue()
        self.was_back = asyncio.Event()
        self.has_members: set[str] = set()
        options = LayerOptions(timing=Timing(connect=10, command=1, silence=silence, linger=linger))
        self.statistics = options.statistics
        self.subscriber = Subscriber(
            Hosts([url], options.timing)[0],
            options,
            wanted,
            is_deserted=lambda name: name not in self.has_members,
            on_message=self.payloads.put,
            on_back=self._back,
        )
        self.task = asyncio.create_task(self.subscriber.run())

    async def _back(self) -> None:
        self.was_back.set()


@pytest.fixture
async def client(shared_redis):
    client = Redis.from_url(shared_redis.url)
    yield client
    await client.aclose()


@pytest.fixture
async def hear(shared_redis):
    made = []

    def hear(*wanted, linger=10.0, silence=10.0):
        made.append(Heard(shared_redis.url, list(wanted), linger, silence))
        return made[-1]

    yield hear
    for heard in made:
        heard.task.cancel()
    await asyncio.wait([heard.task for heard in made])


@pytest.fixture
def name():
    return uuid.uuid4().hex


async def test_what_is_wanted_from_the_start_is_heard(hear, client, name):
    heard = hear(name, f"{name}.other")
    await heard.subscriber.up.wait()
    await client.publish(name, b"one")
    await client.publish(f"{name}.other", b"two")
    assert [await heard.payloads.get() for _ in range(2)] == [b"one", b"two"]


async def test_a_subscription_is_confirmed_when_subscribe_returns(hear, client, name):
    heard = hear()
    for number in range(20):
        await heard.subscriber.subscribe(f"{name}.{number}")
        assert await client.publish(f"{name}.{number}", b"x") == 1


async def test_several_that_want_the_same_at_once_wait_for_one_confirmation(hear, client, name):
    heard = hear()
    await asyncio.gather(*(heard.subscriber.subscribe(name) for _ in range(10)))
    await client.publish(name, b"once")
    await client.publish(name, b"end")
    assert [await heard.payloads.get() for _ in range(2)] == [b"once", b"end"]


async def test_more_names_than_one_command_takes_are_all_subscribed(hear, client, name, monkeypatch):
    monkeypatch.setattr(subscriber_module, "NAMES_PER_COMMAND", 7)
    heard = hear(*(f"{name}.{number}" for number in range(30)))
    await heard.subscriber.up.wait()
    assert len(await client.pubsub_channels(f"{name}.*")) == 30


async def test_a_name_without_members_is_left_after_a_while(hear, client, name):
    heard = hear(linger=0)
    await heard.subscriber.subscribe(name)
    while await client.publish(name, b"whoever hears this looks for members"):
        pass
    heard.has_members.add(name)
    await heard.subscriber.subscribe(name)
    assert await client.publish(name, b"again") == 1


async def test_a_member_that_comes_back_in_time_finds_the_name_subscribed(hear, client, name, shared_redis):
    heard = hear()
    await heard.subscriber.subscribe(name)
    shared_redis.pause()
    try:
        async with asyncio.timeout(1):
            await heard.subscriber.subscribe(name)
    finally:
        shared_redis.resume()


async def test_a_name_that_has_members_stays_subscribed(hear, client, name):
    heard = hear(name, f"{name}.empty", linger=0)
    heard.has_members.add(name)
    await heard.subscriber.up.wait()
    while await client.publish(f"{name}.empty", b"whoever hears this looks for members"):
        pass
    assert await client.publish(name, b"still heard") == 1


async def test_a_name_joined_since_it_was_found_deserted_stays_subscribed(hear, client, name):
    heard = hear(f"{name}.busy", linger=0)
    heard.has_members.add(f"{name}.busy")
    for _ in range(2):  # found deserted when it was subscribed, and joined again
        await heard.subscriber.subscribe(name)
    await client.publish(f"{name}.busy", b"x")
    await heard.payloads.get()
    assert await client.publish(name, b"still heard") == 1


async def test_names_without_members_are_left_during_constant_traffic_too(hear, client, name):
    heard = hear(f"{name}.busy", linger=0)
    heard.has_members.add(f"{name}.busy")
    await heard.subscriber.subscribe(name)
    while await client.pubsub_numsub(name) != [(name.encode(), 0)]:
        await client.publish(f"{name}.busy", b"x")
        await heard.payloads.get()


async def test_an_unconfirmed_subscription_costs_the_connection(hear, client, name, shared_redis):
    heard = hear()
    await heard.subscriber.up.wait()
    shared_redis.pause()
    try:
        await heard.subscriber.subscribe(name)
    finally:
        shared_redis.resume()
    await asyncio.wait_for(heard.was_back.wait(), 10)
    assert await client.publish(name, b"x") == 1
    assert heard.statistics.disconnects == 1


async def test_a_silent_but_healthy_server_is_not_given_up(hear, client, name):
    await client.config_resetstat()
    heard = hear(name, silence=1)
    await heard.subscriber.up.wait()
    while (await client.info("commandstats")).get("cmdstat_ping", {"calls": 0})["calls"] < 2:
        pass  # each look is a round trip
    await client.publish(name, b"still here")
    assert await heard.payloads.get() == b"still here"
    assert heard.statistics.disconnects == 0
