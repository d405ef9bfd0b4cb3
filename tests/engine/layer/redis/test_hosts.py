"""The Redis servers of a layer, as they are configured."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError

from realtime.engine.layer.options import Timing
from realtime.engine.layer.redis.hosts import Hosts
from realtime.engine.protocol.errors import UpstreamUnavailable

SENTINEL = {"sentinels": [("127.0.0.1", 26379)], "master_name": "main", "db": 3}


def one(host):
    return Hosts([host], Timing())[0]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("redis://redis.example:6380/2", {"host": "redis.example", "port": 6380, "db": 2}),
        ("redis://ann:secret@redis.example/0", {"username": "ann", "password": "secret"}),
        (("redis.example", 6380), {"host": "redis.example", "port": 6380}),
        ({"host": "redis.example", "port": 6380, "password": "secret"}, {"host": "redis.example", "port": 6380}),
        ({"address": "redis://redis.example:6380/2", "client_name": "web"}, {"client_name": "web", "port": 6380}),
        ("rediss://redis.example:6380/0", {"host": "redis.example"}),
        ("unix:///run/redis.sock?db=1", {"path": "/run/redis.sock", "db": 1}),
        (SENTINEL, {"db": 3}),
    ],
)
def test_a_host_is_configured_as_for_channels_redis(host, expected):
    kwargs = one(host).pool().connection_kwargs
    assert {name: kwargs[name] for name in expected} == expected


@pytest.mark.parametrize(
    "host", ["redis://redis.example/0", ("redis.example", 6379), SENTINEL, "unix:///run/redis.sock"]
)
def test_no_connection_has_the_read_timeout_that_kills_it_while_it_waits(host):
    kwargs = one(host).pool().connection_kwargs
    assert kwargs["socket_timeout"] is None
    assert kwargs["socket_connect_timeout"] == 2.0
    assert kwargs["health_check_interval"] > 0


@pytest.mark.parametrize("own", [{}, {"sentinel_kwargs": None}, {"sentinel_kwargs": {"password": "secret"}}])
def test_connections_to_a_sentinel_have_the_same_defaults(own):
    [sentinel] = one({**SENTINEL, **own}).pool().sentinel_manager.sentinels
    kwargs = sentinel.connection_pool.connection_kwargs
    assert kwargs["socket_timeout"] is None
    assert kwargs["socket_connect_timeout"] == 2.0
    assert kwargs["password"] == (own.get("sentinel_kwargs") or {}).get("password")


def test_a_pool_notices_that_an_idle_connection_was_closed():
    assert not one("redis://redis.example/0").pool().maint_notifications_enabled()


def test_an_explicit_setting_goes_before_the_default():
    kwargs = one({"address": "redis://redis.example/0", "socket_timeout": 7}).pool().connection_kwargs
    assert kwargs["socket_timeout"] == 7


def test_tls_unix_sockets_and_sentinel_get_connections_of_their_kind():
    assert one("rediss://redis.example/0").pool().connection_class is SSLConnection
    assert one("unix:///run/redis.sock").pool().connection_class is UnixDomainSocketConnection
    assert isinstance(one(SENTINEL).pool(), SentinelConnectionPool)


def test_a_single_string_is_no_list_of_hosts():
    with pytest.raises(ValueError, match="list of Redis hosts"):
        Hosts("redis://redis.example/0", Timing())


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("redis://ann:secret@redis.example:6380/2", "redis://redis.example:6380/2"),
        ("rediss://:secret@redis.example/0", "rediss://redis.example/0"),
        (("redis.example", 6380), "redis.example:6380"),
        ({"host": "redis.example", "password": "secret"}, "redis.example:6379"),
        (SENTINEL, "main (Sentinel)"),
    ],
)
def test_a_host_is_named_without_its_password(host, name):
    assert str(one(host)) == name


def test_every_process_finds_a_name_on_the_same_server():
    hosts = Hosts(["redis://a/0", "redis://b/0", "redis://c/0"], Timing())
    names = [f"group{number}" for number in range(300)]
    shards = [hosts.shard(name) for name in names]
    again = Hosts(["redis://a/0", "redis://b/0", "redis://c/0"], Timing())
    assert shards == [again.shard(name) for name in names]
    assert all(shards.count(shard) > 60 for shard in range(3))


@pytest.mark.parametrize("error", [RedisConnectionError("refused"), AuthenticationError("wrong"), OSError("reset")])
async def test_every_failure_is_one_error_with_the_servers_name_and_the_cause(error):
    with pytest.raises(UpstreamUnavailable, match=f"redis://redis.example/0 cannot be reached: {error}") as caught:
        async with one("redis://ann:secret@redis.example/0").reached_within(1):
            raise error
    assert caught.value.__cause__ is error
    assert caught.value.server == "redis://redis.example/0"


async def test_what_takes_too_long_is_the_same_error():
    with pytest.raises(UpstreamUnavailable, match=r"no answer within 0\.01 s"):
        async with one("redis://redis.example/0").reached_within(0.01):
            await asyncio.Event().wait()


async def test_an_error_of_the_caller_is_left_alone():
    with pytest.raises(KeyError):
        async with one("redis://redis.example/0").reached_within(1):
            raise KeyError("bug")


@pytest.fixture
def host(shared_redis):
    return one({"address": shared_redis.url, "client_name": "short-lived"})


def connections(redis):
    return redis.command("CLIENT LIST").count(b"name=short-lived")


async def test_one_loop_has_one_client(host):
    assert host.client() is host.client()
    await host.close_client()


def test_the_connections_of_a_loop_are_closed_when_it_ends(host, shared_redis):
    async def ping():
        await host.client().ping()
        return connections(shared_redis)

    assert asyncio.run(ping()) == 1
    assert asyncio.run(ping()) == 1
    assert connections(shared_redis) == 0


async def test_every_loop_has_connections_of_its_own(host):
    async def client():
        return host.client()

    assert await client() is not await asyncio.to_thread(asyncio.run, client())
    await host.close_client()


async def test_after_a_close_there_are_new_connections(host):
    await host.client().ping()
    await host.close_client()
    await host.client().ping()
    await host.close_client()
