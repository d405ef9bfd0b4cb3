"""Limits before the upgrade: handshakes and failures for each address, connections for each address and user.

The counts are shared by all processes through the cache. While Redis is away, each process counts for itself. A
handshake that would have to wait for the cache is let in, and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from redis.exceptions import RedisError

from realtime.addresses import client_address, limited_network
from realtime.auth.slots import Place
from realtime.cache import limit_cache
from realtime.errors import HandshakeRejected

__all__ = ["check_failures", "check_handshakes", "count_failure", "take_place"]

logger = logging.getLogger("realtime.auth")

#: Length in seconds of the window in which events are counted.
WINDOW = 60

#: Seconds that a handshake waits for the cache.
CACHE_PATIENCE = 0.5

_PREFIX = "realtime:limits"


async def check_handshakes(scope: Mapping[str, Any]) -> None:
    """Count a handshake.

    Raises:
        HandshakeRejected: 429 with ``Retry-After`` when its address makes more than ``REALTIME_HANDSHAKES_PER_MINUTE``.
    """
    limit = settings.REALTIME_HANDSHAKES_PER_MINUTE
    address = _network(scope) if limit else None
    if address is not None and await _count(f"handshakes:{address}") > limit:
        raise _too_many(f"More than {limit} handshakes a minute from one address.")


async def check_failures(scope: Mapping[str, Any]) -> None:
    """Look whether an address has shown too many bad credentials.

    Raises:
        HandshakeRejected: 429 with ``Retry-After`` after more than ``REALTIME_AUTH_FAILURES_PER_MINUTE``.
    """
    limit = settings.REALTIME_AUTH_FAILURES_PER_MINUTE
    if limit and await _counted(f"failures:{_network(scope) or 'local'}") >= limit:
        raise _too_many(f"More than {limit} failed authentications a minute from one address.")


async def count_failure(scope: Mapping[str, Any]) -> None:
    """Count a bad credential."""
    if settings.REALTIME_AUTH_FAILURES_PER_MINUTE:
        await _count(f"failures:{_network(scope) or 'local'}")


async def take_place(scope: Mapping[str, Any], user_id: Any) -> Place:
    """Count a connection before it is accepted; whoever gets its place gives it back.

    Args:
        scope: the ASGI scope.
        user_id: primary key of the user; None for a visitor.

    Raises:
        HandshakeRejected: 429 with ``Retry-After`` at ``REALTIME_CONNECTIONS_PER_ADDRESS`` or ``..._PER_USER``.
    """
    place = Place()
    await place.take(address=_network(scope), user_id=user_id)
    return place


def _network(scope: Mapping[str, Any]) -> str | None:
    return limited_network(client_address(scope))


def _too_many(detail: str) -> HandshakeRejected:
    retry_after = WINDOW - _now() % WINDOW
    return HandshakeRejected(429, detail, headers=[("Retry-After", str(retry_after))])


async def _count(name: str) -> int:
    return await _ask_cache(_increment, _key(name))


async def _counted(name: str) -> int:
    return await _ask_cache(lambda key: int(limit_cache.get(key, 0)), _key(name))


async def _ask_cache(question: Any, key: str) -> int:
    try:
        async with asyncio.timeout(CACHE_PATIENCE):
            return int(await asyncio.to_thread(question, key))
    except (RedisError, OSError, TimeoutError) as error:
        logger.warning("limits before the upgrade are not enforced while the cache is away: %s", type(error).__name__)
        return 0


def _key(name: str) -> str:
    return f"{_PREFIX}:{name}:{_now() // WINDOW}"


def _now() -> int:
    return int(time.time())


def _increment(key: str) -> int:
    """Add one; add() and incr() are each one step, in every cache backend."""
    limit_cache.add(key, 0, timeout=2 * WINDOW)
    return limit_cache.incr(key)
