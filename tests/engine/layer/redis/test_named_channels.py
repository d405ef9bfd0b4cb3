"""Channels without an owner: nothing is lost when a worker gives up."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from realtime.engine.layer.redis import named_channels


@pytest.fixture
async def client(shared_redis):
    client = Redis.from_url(shared_redis.url)
    yield client
    await client.aclose()


async def test_a_message_that_comes_for_a_worker_that_has_gone_is_the_next_ones(
    make_process, client, taken, monkeypatch
):
    monkeypatch.setattr(named_channels, "BLOCK", 1.0)
    leaving, staying, sender = make_process(), make_process(), make_process()
    receiving = asyncio.create_task(leaving.receive("work"))
    async with asyncio.timeout(10):
        while (await client.info("clients"))["blocked_clients"] == 0:
            pass  # each look is a round trip
    receiving.cancel()
    await asyncio.wait([receiving])
    await sender.send("work", {"type": "job"})
    assert await taken(staying, "work") == {"type": "job"}


async def test_work_that_cannot_be_read_is_counted_and_the_worker_goes_on(make_process, taken, caplog):
    sender = make_process(symmetric_encryption_keys=["one"])
    worker, other = (make_process(symmetric_encryption_keys=["two"]) for _ in range(2))
    await sender.send("work", {"type": "unreadable"})
    await other.send("work", {"type": "readable"})
    assert await taken(worker, "work") == {"type": "readable"}
    assert worker.statistics.undecodable == 1
    assert "from another process is lost" in caplog.text


async def test_a_channel_that_is_read_stays_in_its_groups(make_process, client):
    worker, sender = make_process(prefix="kept"), make_process(prefix="kept")
    await sender.group_add("group", "work")
    [key] = [key for key in await client.keys("kept:*") if await client.pttl(key) > 0]
    await client.pexpire(key, 60_000)
    receiving = asyncio.create_task(worker.receive("work"))
    async with asyncio.timeout(10):
        while await client.pttl(key) <= 60_000:
            pass  # each look is a round trip
    await sender.group_send("group", {"type": "event"})
    assert await receiving == {"type": "event"}


async def test_a_channel_without_an_owner_that_nobody_reads_leaves_its_groups_in_time(make_process, taken):
    layer = make_process(group_expiry=0.1)
    await layer.group_add("group", "work")
    await asyncio.sleep(0.15)  # the expiry itself, by the real clock of Redis
    await layer.group_send("group", {"type": "never"})
    await layer.send("work", {"type": "event"})
    assert await taken(layer, "work") == {"type": "event"}


async def test_a_channel_whose_memberships_have_expired_is_taken_out_of_its_groups(make_process, client, taken):
    layer = make_process(prefix="outlived")
    await layer.group_add("group", "work")
    [group_key] = [key for key in await client.keys("outlived:*") if b"group:group" in key]
    [channel_key] = [key for key in await client.keys("outlived:*") if key != group_key]
    await client.delete(channel_key)
    await layer.group_send("group", {"type": "never"})
    await layer.send("work", {"type": "event"})
    assert await taken(layer, "work") == {"type": "event"}
    assert await client.exists(group_key) == 0
