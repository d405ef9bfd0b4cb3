"""The time of a connection, which a test may set."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

__all__ = ["CLOCK", "Clock"]


class Clock:
    """Monotonic time in seconds, and what happens at one."""

    now: Callable[[], float] = staticmethod(time.monotonic)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        """Call ``callback`` in the running event loop after some seconds; the result has ``cancel()``."""
        return asyncio.get_running_loop().call_later(seconds, callback)

    def timeout(self, seconds: float) -> Any:
        """Return ``asyncio.timeout(seconds)`` by this clock."""
        return asyncio.timeout(seconds)


#: That of every connection of a server.
CLOCK = Clock()
