"""Writes of many connections, gathered until the end of the event loop's iteration."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol
from weakref import WeakValueDictionary

logger = logging.getLogger("realtime.wire")


class Flushable(Protocol):
    """A connection with something to write.

    Attributes:
        is_flushing: whether the flusher is going to write it.
    """

    is_flushing: bool

    def flush(self) -> None:
        """Write what is pending, as far as the transport takes it."""


class Flusher:
    """Writes once for each connection and event-loop iteration, however many messages were sent in it.

    Get it by ``Flusher.of_running_loop()``. It lives for as long as a connection holds it: it holds the loop, which
    would not be freed otherwise.
    """

    __slots__ = ("__weakref__", "_call_soon", "_waiting")

    _of_loop: WeakValueDictionary[int, Flusher] = WeakValueDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call_soon = loop.call_soon
        self._waiting: list[Flushable] = []

    @classmethod
    def of_running_loop(cls) -> Flusher:
        """Return the flusher of the event loop that is running."""
        loop = asyncio.get_running_loop()
        return cls._of_loop.get(id(loop)) or cls._of_loop.setdefault(id(loop), cls(loop))

    def add(self, connection: Flushable) -> None:
        """Flush a connection at the end of the iteration."""
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
