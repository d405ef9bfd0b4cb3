"""One write for each connection and event-loop iteration, however many messages were sent in it."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol
from weakref import WeakKeyDictionary, ref

__all__ = ["Flusher"]

logger = logging.getLogger("realtime.wire")


class _Flushable(Protocol):
    is_flushing: bool

    def flush(self) -> None:
        """Write what is pending."""


class Flusher:
    """The connections of one event loop that have something to write by the end of the iteration.

    Get it by ``Flusher.of(loop)``. It lives for as long as a connection holds it: it holds the loop, which would not
    be freed otherwise.
    """

    __slots__ = ("__weakref__", "_call_soon", "_waiting")

    _of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, ref[Flusher]] = WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call_soon = loop.call_soon
        self._waiting: list[_Flushable] = []

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Flusher:
        """Return the flusher of an event loop."""
        known = cls._of_loop.get(loop)
        flusher = None if known is None else known()
        if flusher is None:
            flusher = cls(loop)
            cls._of_loop[loop] = ref(flusher)
        return flusher

    def add(self, connection: _Flushable) -> None:
        """Let a connection be flushed at the end of the iteration."""
        if not self._waiting:
            self._call_soon(self._flush)
        connection.is_flushing = True
        self._waiting.append(connection)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            try:
                connection.flush()
            except Exception:
                logger.exception("A connection could not be written to")
