from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches

from realtime.engine.testing import RedisProcess, ServerProcess, credentials
from realtime.engine.testing.client import Client, open_socket

SOCKETS = 20


def connections(redis: RedisProcess) -> int:
    """Return how many connections Redis has, that of this question not counted."""
    return int(re.search(rb"connected_clients:(\d+)", redis.command("INFO clients"))[1]) - 1


@pytest.fixture
def redis_cache(settings, redis_server: RedisProcess) -> Any:
    settings.CACHES = {
        "default": {"BACKEND": "realtime.engine.services.cache.SharedRedisCache", "LOCATION": redis_server.url}
    }
    return caches


def test_it_is_a_cache(redis_cache) -> None:
    cache = redis_cache["default"]
    assert cache.add("number", 1)
    assert not cache.add("number", 2)
    assert cache.incr("number") == 2
    cache.set("other", ["a", "list"], timeout=60)
    assert cache.get_many(["number", "other"]) == {"number": 2, "other": ["a", "list"]}
    cache.clear()
    assert cache.get("number") is None


def test_threads_that_take_turns_share_a_connection(redis_cache, redis_server: RedisProcess) -> None:
    before = connections(redis_server)
    for _ in range(SOCKETS):
        thread = threading.Thread(target=lambda: redis_cache["default"].get("anything"))
        thread.start()
        thread.join()
    assert connections(redis_server) <= before + 1


def test_caches_with_other_options_do_not_share(settings, redis_server: RedisProcess) -> None:
    location = redis_server.url.removesuffix("/0")
    shared = {"BACKEND": "realtime.engine.services.cache.SharedRedisCache", "LOCATION": location}
    settings.CACHES = {"default": shared, "second": {**shared, "OPTIONS": {"db": "2"}}}
    caches["default"].set("key", "default")
    assert caches["second"].get("key") is None


async def test_a_socket_keeps_no_connection_of_the_cache(
    database_copy: Path, redis_server: RedisProcess, password: str
) -> None:
    def post(path: str, body: Any, **headers: str) -> Any:
        request = urllib.request.Request(
            server.http(path), json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    async def open_with_ticket(token: str) -> Client:
        ticket = await asyncio.to_thread(post, "/api/ws-ticket/", {}, Authorization=f"Bearer {token}")
        return await open_socket(server.ws(f"/ws/auth?ticket={ticket['ticket']}"))

    with ServerProcess(database=database_copy, env={"REDIS_URL": redis_server.url}) as server:
        token = await asyncio.to_thread(post, "/api/token/", credentials("ann", password))
        async with contextlib.AsyncExitStack() as sockets:
            for _ in range(SOCKETS):
                await sockets.enter_async_context(await open_with_ticket(token["access"]))
            assert connections(redis_server) < SOCKETS / 2
