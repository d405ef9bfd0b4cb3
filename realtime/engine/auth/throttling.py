"""Limits on handshakes and on bad credentials, for each address, counted in windows of time.

All processes share the counts through the cache. While Redis is away, each process counts for itself. A handshake that
would have to wait for the cache is let in, and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from realtime.engine.handshake.addresses import client_address, limited_network
from realtime.engine.protocol.errors import HandshakeRejected
from realtime.engine.services.cache import limit_cache

logger = logging.getLogger("realtime.auth")

#: Length in seconds of the window in which handshakes and failures are counted.
WINDOW = 60

#: Seconds that a handshake waits for the cache.
CACHE_TIMEOUT = 0.5

#: Used by nothing else, so that no other work makes a limit unenforced.
_threads = ThreadPoolExecutor(4, thread_name_prefix="limits")


@dataclass(frozen=True, slots=True)
class Count:
    """The number of events in the current window of time, which begins with its first event. Synchronous."""

    name: str
    """What is counted, and for whom."""
    window: int
    """Length of the window in seconds."""

    def add(self, by: int = 1) -> int:
        """Count events, 0 for none, and return how many there are."""
        key = self._key()
        for _ in range(2):  # twice, because Redis may go away between the two commands
            try:
                return int(limit_cache.incr(key, by))
            except ValueError:  # the first event of the window
                limit_cache.add(key, 0, timeout=2 * self.window)
        return int(limit_cache.incr(key, by))

    def reset(self) -> None:
        """Set the number to zero."""
        limit_cache.set(self._key(), 0, timeout=2 * self.window)

    def seconds_left(self) -> int:
        """Return after how many seconds the window ends; 1 at least."""
        return max(1, self._start() + self.window - _now())

    def _key(self) -> str:
        # One key for each window: a key that expires during a count leaves no number behind that never expires.
        return f"realtime:limits:{self.name}:{self._start()}"

    def _start(self) -> int:
        """Return the POSIX time at which the window began; of several first events at once, one begins it."""
        return int(limit_cache.get_or_set(f"realtime:limits:{self.name}:start", _now, timeout=self.window))


async def check_handshakes(scope: Mapping[str, Any]) -> None:
    """Count a handshake.

    Raises:
        HandshakeRejected: 429 with ``Retry-After`` when its address makes more than ``REALTIME_HANDSHAKES_PER_MINUTE``.
    """
    network = limited_network(client_address(scope))
    if network is not None:
        handshakes = Count(f"handshakes:{network}", WINDOW)
        await _check(handshakes, 1, settings.REALTIME_HANDSHAKES_PER_MINUTE, "handshakes")


async def check_failures(scope: Mapping[str, Any]) -> None:
    """Check whether an address has sent too many bad credentials.

    Raises:
        HandshakeRejected: 429 with ``Retry-After`` after more than ``REALTIME_AUTH_FAILURES_PER_MINUTE``.
    """
    failures = failures_of(client_address(scope))
    await _check(failures, 0, settings.REALTIME_AUTH_FAILURES_PER_MINUTE, "failed authentications")


async def count_failure(scope: Mapping[str, Any]) -> None:
    """Count a bad credential."""
    if settings.REALTIME_AUTH_FAILURES_PER_MINUTE:
        await _in_time(failures_of(client_address(scope)).add)


def failures_of(address: str | None) -> Count:
    """Return the count of bad credentials of an address: tokens, tickets and passwords."""
    return Count(f"failures:{limited_network(address) or 'local'}", WINDOW)


async def _check(count: Count, by: int, limit: int, what: str) -> None:
    """Count ``by`` events, and refuse the handshake if there were ``limit`` before."""
    if limit and await _in_time(count.add, by) - by >= limit:
        seconds = await _in_time(count.seconds_left) or WINDOW
        detail = f"More than {limit} {what} a minute from one address."
        raise HandshakeRejected(429, detail, headers=[("Retry-After", str(seconds))])


async def _in_time(question: Callable[..., int], *arguments: int) -> int:
    try:
        async with asyncio.timeout(CACHE_TIMEOUT):
            return await asyncio.get_running_loop().run_in_executor(_threads, question, *arguments)
    except TimeoutError:
        logger.warning("a limit before the upgrade is not enforced: the cache did not answer in %g s", CACHE_TIMEOUT)
        return 0


def _now() -> int:
    return int(time.time())
