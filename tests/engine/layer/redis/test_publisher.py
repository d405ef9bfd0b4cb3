"""The held connection of a sender: made at need, given up when the server has closed it, and exact about refusals."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError

from realtime.engine.layer.redis.hosts import Hosts
from realtime.engine.layer.redis.publisher import Publisher


@pytest.fixture
async def make_publisher():
    publishers = []

    def make(url):
        publishers.append(Publisher(Hosts([url], 2.0)[0]))
        return publishers[-1]

    yield make
    for publisher in publishers:
        await publisher.aclose()


@pytest.fixture
async def client(redis_server):
    client = Redis.from_url(redis_server.url)
    yield client
    await client.aclose()


async def test_all_messages_go_by_one_connection_in_their_order(redis_server, make_publisher, client):
    publisher = make_publisher(redis_server.url)
    async with client.pubsub() as pubsub:
        await pubsub.subscribe("out")
        await pubsub.get_message(timeout=10)
        await publisher.publish([("out", b"1"), ("elsewhere", b"2")])
        connections = (await client.info("stats"))["total_connections_received"]
        await publisher.publish([("out", b"3")])
        await publisher.publish([("out", b"4"), ("out", b"5")])
        heard = [(await pubsub.get_message(timeout=10))["data"] for _ in range(4)]
        assert (await client.info("stats"))["total_connections_received"] == connections
    assert heard == [b"1", b"3", b"4", b"5"]


async def test_a_connection_that_the_server_has_closed_is_made_again(redis_server, make_publisher, client):
    publisher = make_publisher(redis_server.url)
    await publisher.publish([("out", b"1")])
    await client.client_kill_filter(_type="normal", skipme=True)
    assert (await publisher.publish([("out", b"2")])).refusals == []


async def test_a_server_that_is_gone_is_an_error_and_one_that_is_back_is_found(redis_server, make_publisher):
    publisher = make_publisher(redis_server.url)
    await publisher.publish([("out", b"1")])
    redis_server.kill()
    with pytest.raises((RedisConnectionError, OSError)):
        await publisher.publish([("out", b"2")])
    redis_server.start()
    assert (await publisher.publish([("out", b"3")])).refusals == []


async def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next_one(redis_server, make_publisher, client):
    publisher = make_publisher(redis_server.url)
    await publisher.publish([("out", b"1")])
    redis_server.pause()
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await publisher.publish([("out", b"2"), ("out", b"3")])
    finally:
        redis_server.resume()
    await client.execute_command("ACL", "SETUSER", "default", "resetchannels", "&out")
    assert len((await publisher.publish([("forbidden", b"4")])).refusals) == 1


async def test_each_message_that_is_refused_is_told(redis_server, make_publisher, client):
    publisher = make_publisher(redis_server.url)
    await client.execute_command("ACL", "SETUSER", "default", "resetchannels", "&out")
    messages = [("out", b"1"), ("forbidden", b"2"), ("out", b"3"), ("forbidden", b"4")]
    published = await publisher.publish(messages)
    assert [type(refusal) for refusal in published.refusals] == [NoPermissionError] * 2
    assert (await publisher.publish([("out", b"5")])).refusals == []
