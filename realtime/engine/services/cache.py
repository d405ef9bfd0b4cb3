"""Django's cache in Redis, with connections that the whole process shares; and a cache for limits, which never fails.

Django makes a cache object for each thread and each asynchronous context. Under ASGI that is one for each request and
each WebSocket. With the stock backend each opens its own connection, which a WebSocket would keep until it closes.
"""

from __future__ import annotations

import functools
import logging
import time
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from django.utils.connection import ConnectionProxy
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

__all__ = ["LimitCache", "SharedRedisCache", "limit_cache"]

logger = logging.getLogger("realtime.cache")

#: A request waits no longer than this for Redis, in seconds; redis-py would try for 3.5 seconds when it is away.
TIMEOUT = 1.0

#: Seconds for which ``LimitCache`` does not ask a Redis that has failed.
PAUSE = 5.0

#: Counts that a process keeps while Redis is away; Django's 300 would let a client push them out.
MAX_LOCAL_ENTRIES = 100_000

#: The cache in which limits count.
limit_cache: Any = ConnectionProxy(caches, "limits")


class SharedRedisCache(RedisCache):
    """The stock backend, with one pool of connections for the process; redis-py's pools are safe among threads."""

    def __init__(self, server: str | list[str], params: dict[str, Any]) -> None:
        super().__init__(server, params)
        #: What the stock backend makes its client with.
        self._class = lambda servers, **options: _client(tuple(servers), tuple(sorted(options.items())))


def _local_while_away(method: str) -> Any:
    def call(self: LimitCache, *args: Any, **kwargs: Any) -> Any:
        client: Any = self._cache
        if time.monotonic() >= client.away_until:
            try:
                return getattr(SharedRedisCache, method)(self, *args, **kwargs)
            except (RedisError, OSError) as error:
                client.away_until = time.monotonic() + PAUSE
                logger.warning("limits count in this process alone while Redis is away: %s", error)
        return getattr(self._local, method)(*args, **kwargs)

    return call


class LimitCache(SharedRedisCache):
    """Counts in Redis, and in the process while Redis is away: limits hold then, and no request fails."""

    def __init__(self, server: str | list[str], params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._local = LocMemCache("limits", {"OPTIONS": {"MAX_ENTRIES": MAX_LOCAL_ENTRIES}})

    add, get, set, incr = map(_local_while_away, ("add", "get", "set", "incr"))


class _Client(RedisCacheClient):
    """The stock client, which does not try for long."""

    #: Monotonic time before which ``LimitCache`` does not ask.
    away_until = 0.0

    def __init__(self, servers: list[str], **options: Any) -> None:
        timeouts = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT, "retry": Retry(NoBackoff(), 1)}
        super().__init__(servers, **{**timeouts, **options})


@functools.cache
def _client(servers: tuple[str, ...], options: tuple[tuple[str, Any], ...]) -> RedisCacheClient:
    return _Client(list(servers), **dict(options))
