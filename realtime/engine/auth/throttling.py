"""Limits before the upgrade: handshakes and failures for each address, connections for each address and user.

The counts are shared by all processes through the cache. While Redis is away, each process counts for itself. A
handshake that would have to wait for the cache is let in, and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings

from realtime.engine.connections.slots import Place
from realtime.engine.counts import Count
from realtime.engine.errors import HandshakeRejected
from realtime.engine.handshake.addresses import client_address, limited_network

__all__ = ["check_failures", "check_handshakes", "count_failure", "failures_of", "take_place"]

logger = logging.getLogger("realtime.auth")

#: Length in seconds of the window in which events are counted.
WINDOW = 60

#: Seconds that a handshake waits for the cache.
CACHE_PATIENCE = 0.5

#: Nobody else's, so that nobody else can let a limit be passed.
_threads = ThreadPoolExecutor(4, thread_name_prefix="limits")


async def check_handshakes(scope: Mapping[str, Any]) -> None:
    """Count a handshake.

    Raises:
        HandshakeRejected: 429 with ``Retry-After`` when its address makes more than ``REALTIME_HANDSHAKES_PER_MINUTE``.
    """
    limit = settings.REALTIME_HANDSHAKES_PER_MINUTE
    network = _network(scope) if limit else None
    if network is None:
        return
    handshakes = Count(f"handshakes:{network}", WINDOW)
    if await _within_patience(handshakes.add) > limit:
        raise await _too_many(f"More than {limit} handshakes a minute from one address.", handshakes)


async def check_failures(scope: Mapping[str, Any]) -> None:
    """Look whether an address has shown too many bad credentials.

    Raises:
        HandshakeRejected: 429 with ``Retry-After`` after more than ``REALTIME_AUTH_FAILURES_PER_MINUTE``.
    """
    limit = settings.REALTIME_AUTH_FAILURES_PER_MINUTE
    failures = _failures(scope)
    if limit and await _within_patience(failures.get) >= limit:
        raise await _too_many(f"More than {limit} failed authentications a minute from one address.", failures)


async def count_failure(scope: Mapping[str, Any]) -> None:
    """Count a bad credential."""
    if settings.REALTIME_AUTH_FAILURES_PER_MINUTE:
        failures = _failures(scope)
        await _within_patience(failures.add)


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


def failures_of(network: str) -> Count:
    """Return the count of bad credentials of an address: tokens, tickets and passwords."""
    return Count(f"failures:{network}", WINDOW)


def _network(scope: Mapping[str, Any]) -> str | None:
    return limited_network(client_address(scope))


def _failures(scope: Mapping[str, Any]) -> Count:
    return failures_of(_network(scope) or "local")


async def _too_many(detail: str, count: Count) -> HandshakeRejected:
    seconds = await _within_patience(count.seconds_left)
    return HandshakeRejected(429, detail, headers=[("Retry-After", str(seconds or WINDOW))])


async def _within_patience(question: Callable[[], int]) -> int:
    try:
        async with asyncio.timeout(CACHE_PATIENCE):
            return await asyncio.get_running_loop().run_in_executor(_threads, question)
    except TimeoutError:
        logger.warning("a limit before the upgrade is not enforced: the cache did not answer in %g s", CACHE_PATIENCE)
        return 0
