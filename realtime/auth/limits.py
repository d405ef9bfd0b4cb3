"""Limits before the upgrade: handshakes and failures for each address, connections for each address and user.

The counts are shared by all processes through the cache. They protect the site, so they give way when the cache is
down: a handshake is let in, and the log says so once.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Mapping
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError

from realtime.errors import HandshakeRejected
from realtime.live.models import LiveConnection
from realtime.live.registry import registry

__all__ = ["check_connections", "check_failures", "check_handshakes", "client_address", "count_failure"]

logger = logging.getLogger("realtime.auth")

#: Length in seconds of the window in which events are counted.
WINDOW = 60

#: Seconds that a handshake waits for the cache.
CACHE_PATIENCE = 0.5

_PREFIX = "realtime:limits"


def client_address(scope: Mapping[str, Any]) -> str | None:
    """Return the address that limits count for; None for a UNIX socket and for this machine itself.

    A connection from this machine is a developer's, or a reverse proxy's that was not declared by
    ``REALTIME_TRUSTED_PROXIES``: behind one, everybody would have the same address.
    """
    client = scope.get("client")
    if not client:
        return None
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return None
    if address.is_loopback:
        return None
    # An IPv6 customer has a whole /64: one address of it is no identity.
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


async def check_handshakes(scope: Mapping[str, Any]) -> None:
    """Count a handshake.

    Raises:
        HandshakeRejected: 429 with ``Retry-After`` when its address makes more than ``REALTIME_HANDSHAKES_PER_MINUTE``.
    """
    limit = settings.REALTIME_HANDSHAKES_PER_MINUTE
    address = client_address(scope) if limit else None
    if address is not None and await _count(f"handshakes:{address}") > limit:
        raise _too_many(f"More than {limit} handshakes a minute from one address.")


async def check_failures(scope: Mapping[str, Any]) -> None:
    """Look whether an address has shown too many bad credentials.

    Raises:
        HandshakeRejected: 429 with ``Retry-After`` after more than ``REALTIME_AUTH_FAILURES_PER_MINUTE``.
    """
    limit = settings.REALTIME_AUTH_FAILURES_PER_MINUTE
    if limit and await _counted(f"failures:{client_address(scope) or 'local'}") >= limit:
        raise _too_many(f"More than {limit} failed authentications a minute from one address.")


async def count_failure(scope: Mapping[str, Any]) -> None:
    """Count a bad credential."""
    if settings.REALTIME_AUTH_FAILURES_PER_MINUTE:
        await _count(f"failures:{client_address(scope) or 'local'}")


async def check_connections(scope: Mapping[str, Any], user_id: Any) -> None:
    """Look how many connections there are already.

    Args:
        scope: the ASGI scope.
        user_id: primary key of the user; None for a visitor.

    Raises:
        HandshakeRejected: 429 with ``Retry-After`` at ``REALTIME_CONNECTIONS_PER_ADDRESS`` or ``..._PER_USER``.
    """
    limit = settings.REALTIME_CONNECTIONS_PER_ADDRESS
    if limit and client_address(scope) is not None:
        here = registry.count_address(scope["client"][0])
        if await _is_full(here, limit, address=scope["client"][0]):
            raise _too_many(f"{limit} connections from one address are open already.")
    limit = settings.REALTIME_CONNECTIONS_PER_USER
    if limit and user_id is not None and await _is_full(registry.count_user(user_id), limit, user_id=user_id):
        raise _too_many(f"{limit} connections of one user are open already.")


async def _is_full(here: int, limit: int, **whose: Any) -> bool:
    """Tell whether all processes together hold ``limit`` connections; asks the database only when it may be so.

    While every process holds less than its share of the limit, the sum is below the limit.
    """
    if here >= limit:
        return True
    if here * settings.WEB_CONCURRENCY < limit:
        return False
    return await database_sync_to_async(LiveConnection.objects.filter(**whose).count)() >= limit


def _too_many(detail: str) -> HandshakeRejected:
    retry_after = WINDOW - _now() % WINDOW
    return HandshakeRejected(429, detail, headers=[("Retry-After", str(retry_after))])


async def _count(name: str) -> int:
    return await _ask_cache(_increment, _key(name))


async def _counted(name: str) -> int:
    return await _ask_cache(lambda key: int(cache.get(key, 0)), _key(name))


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
    cache.add(key, 0, timeout=2 * WINDOW)
    return cache.incr(key)
