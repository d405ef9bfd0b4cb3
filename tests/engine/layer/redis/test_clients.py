"""Connections that end with the event loop that opened them."""

from __future__ import annotations

import asyncio

import pytest

from realtime.engine.layer.redis.clients import Clients
from realtime.engine.layer.redis.hosts import Hosts


@pytest.fixture
def clients(shared_redis):
    return Clients(Hosts([{"address": shared_redis.url, "client_name": "short-lived"}], 2.0))


def connections(redis):
    return redis.command("CLIENT LIST").count(b"name=short-lived")


async def test_one_loop_has_one_client(clients):
    assert clients.here()[0] is clients.here()[0]
    await clients.aclose()


def test_the_connections_of_a_loop_are_closed_when_it_ends(clients, shared_redis):
    async def ping():
        await clients.here()[0].ping()
        return connections(shared_redis)

    assert asyncio.run(ping()) == 1
    assert asyncio.run(ping()) == 1
    assert connections(shared_redis) == 0


async def test_every_loop_has_connections_of_its_own(clients):
    async def client():
        return clients.here()[0]

    assert await client() is not await asyncio.to_thread(asyncio.run, client())
    await clients.aclose()


async def test_after_a_close_there_are_new_connections(clients):
    await clients.here()[0].ping()
    await clients.aclose()
    await clients.here()[0].ping()
    await clients.aclose()
