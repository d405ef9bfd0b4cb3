"""Django's cache in Redis, with connections that the whole process shares.

Django makes a cache object for each thread and each asynchronous context. Under ASGI that is one for each request and
one for each WebSocket, and with the stock backend each of them opens a connection of its own, which a WebSocket whose
handshake has asked the cache (a ticket, a limit) keeps for as long as it lives.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from django.core.cache.backends.redis import RedisCache, RedisCacheClient

__all__ = ["SharedRedisCache"]


class SharedRedisCache(RedisCache):
    """The stock backend, with one pool of connections for the process; redis-py's pools are safe among threads."""

    def __init__(self, server: str | list[str], params: dict[str, Any]) -> None:
        super().__init__(server, params)
        #: What the stock backend makes its client with.
        self._class = _shared_client


def _shared_client(servers: Sequence[str], **options: Any) -> RedisCacheClient:
    return _client(tuple(servers), tuple(sorted(options.items())))


@functools.cache
def _client(servers: tuple[str, ...], options: tuple[tuple[str, Any], ...]) -> RedisCacheClient:
    return RedisCacheClient(list(servers), **dict(options))
