"""The open connections of this process, and how they are closed when the server stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import Protocol

from prometheus_client import Gauge

from realtime.engine.monitoring.health import register_readiness_check
from realtime.engine.monitoring.metrics import REGISTRY
from realtime.engine.protocol.errors import HandshakeRejected

logger = logging.getLogger("realtime.wire")

#: Part of the drain time over which the closes are spread; the rest is for the last ones to finish.
SPREAD = 0.8
#: Seconds beyond the drain time for applications that were cancelled.
GRACE = 1.0


class Draining(Exception):
    """The process is stopping."""


#: The answer to a handshake of a server that is stopping.
SHUTTING_DOWN = HandshakeRejected(503, "The server is shutting down; connect again.", headers=[("Retry-After", "1")])


class Drainable(Protocol):
    """A connection that a stopping server can end."""

    @property
    def pending(self) -> int:
        """Bytes that wait for the peer."""

    def restart(self) -> None:
        """Close it because the server is being stopped."""

    def kill(self) -> None:
        """End it and its application at once."""


class Drain:
    """Closes every connection, spread over some seconds, so that not all clients reconnect at once."""

    def __init__(self) -> None:
        self.seconds: float = 10  # over which a stopping server closes its sockets
        self.draining = False  # new handshakes are answered with 503
        self.connections: set[Drainable] = set()  # whose application or transport is alive
        self._empty: asyncio.Event | None = None

    def add(self, connection: Drainable) -> None:
        self.connections.add(connection)

    def discard(self, connection: Drainable) -> None:
        self.connections.discard(connection)
        if self._empty is not None and not self.connections:
            self._empty.set()

    async def run(self, seconds: float) -> None:
        """Close every connection with 1012 and wait until all have ended, at most ``seconds`` and a grace.

        Every application gets its disconnect event; one that has not returned by the end is cancelled.
        """
        self.draining = True
        loop = asyncio.get_running_loop()
        start = loop.time()
        self._empty = asyncio.Event()
        connections = list(self.connections)
        random.shuffle(connections)
        for number, connection in enumerate(connections):
            delay = start + SPREAD * seconds * number / len(connections) - loop.time()
            if delay > 0:
                await asyncio.sleep(delay)
            _end(connection.restart)
        await self._until_empty(start + seconds - loop.time())
        for connection in list(self.connections):
            _end(connection.kill)
        await self._until_empty(GRACE)

    async def _until_empty(self, seconds: float) -> None:
        assert self._empty is not None
        if self.connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), max(seconds, 0))


def _end(end: Callable[[], None]) -> None:
    try:
        end()
    except Exception:
        # One connection must not keep the others from their end.
        logger.exception("A connection could not be ended")


#: The connections of this process, which serves one address.
DRAIN = Drain()


def is_draining() -> bool:
    """Return whether this process is stopping, for a readiness check."""
    return DRAIN.draining


async def _check_draining() -> None:
    if is_draining():
        raise Draining


def _pending() -> list[int]:
    return [connection.pending for connection in DRAIN.connections]


register_readiness_check("draining", _check_draining)

for _name, _text, _read in (
    ("websocket_send_queue_bytes", "Bytes that wait for peers that read slowly.", lambda: sum(_pending())),
    ("websocket_send_queue_max_bytes", "Bytes that wait for the slowest peer.", lambda: max(_pending(), default=0)),
    ("websocket_draining", "1 while the process is stopping and closes its connections.", is_draining),
):
    Gauge(_name, _text, registry=REGISTRY).set_function(_read)
