"""Twisted's transports as asyncio has them, and the way to take a socket away from Twisted.

A plain TCP or UNIX socket is given to the event loop, which is more than three times as fast. A TLS
endpoint keeps its keys in user space: there is nothing to take over, and the connection stays on Twisted's transport.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

from twisted.internet.interfaces import ISSLTransport, ISystemHandle
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import ProtocolWrapper

from realtime.engine.server.asgi_connection import ASGIConnection

logger = logging.getLogger("realtime.wire")

#: What is called, read or set when a socket is taken away from a transport.
_NEEDED = (
    "_tempDataBuffer",
    "connected",
    "dataBuffer",
    "disconnected",
    "getHandle",
    "protocol",
    "stopReading",
    "stopWriting",
)


def can_detach(transport: Any) -> bool:
    """Return whether a transport's socket can be taken away: it is no TLS, and nothing waits to be sent.

    A transport of another release of Twisted may lack what is needed for that, which is logged once.
    """
    if not ISystemHandle.providedBy(transport) or ISSLTransport.providedBy(transport):
        return False
    missing = tuple(name for name in _NEEDED if not hasattr(transport, name))
    if missing:
        _log_once(missing)
        return False
    return isinstance(transport.getHandle(), socket.socket) and not (transport.dataBuffer or transport._tempDataBuffer)


@functools.cache
def _log_once(missing: tuple[str, ...]) -> None:
    logger.warning("WebSockets are served on Twisted's transport, which is slower: it has no %s", ", ".join(missing))


def open_detached(transport: Any, connection: ASGIConnection) -> Callable[[], Awaitable[None]]:
    """Take the socket from Twisted and return what opens it on the event loop.

    The transport is left without a descriptor, a protocol and a producer, and unknown to the reactor, so that nothing
    keeps it alive.
    """
    transport.stopReading()
    transport.stopWriting()
    transport.connected = 0
    transport.disconnected = 1
    transport.protocol = None
    old = transport.getHandle()
    sock = socket.socket(old.family, old.type, old.proto, old.detach())
    sock.setblocking(False)

    async def open_socket() -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: connection, sock)
        except BaseException:
            sock.close()
            raise

    return open_socket


def open_in_place(transport: Any, connection: ASGIConnection) -> None:
    adapter = TwistedTransport(connection)
    if isinstance(transport, ProtocolWrapper):  # TLS wraps its protocol
        transport.wrappedProtocol = adapter
    else:
        transport.protocol = adapter
    adapter.makeConnection(transport)


class TwistedTransport(Protocol):
    """An asyncio transport, as far as a connection needs one, on a Twisted transport."""

    transport: Any

    def __init__(self, connection: ASGIConnection) -> None:
        self._connection = connection

    # twisted.internet.interfaces.IProtocol

    def connectionMade(self) -> None:  # noqa: N802
        self.transport.registerProducer(self, True)
        self._connection.connection_made(cast("asyncio.Transport", self))
        self.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self._connection.data_received(data)

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802
        if self.transport is not None:
            self.transport = None
            self._connection.connection_lost(None)

    # twisted.internet.interfaces.IPushProducer: Twisted calls these when its buffer is full and when it is empty

    def pauseProducing(self) -> None:  # noqa: N802
        self._connection.pause_writing()

    def resumeProducing(self) -> None:  # noqa: N802
        self._connection.resume_writing()

    def stopProducing(self) -> None:  # noqa: N802
        """Do nothing: ``connectionLost()`` follows."""

    # asyncio.Transport. Twisted may lose the connection within any of its own calls.

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def get_write_buffer_size(self) -> int:
        """Return 0: Twisted does not say, but it pauses its producer before it holds much."""
        return 0

    def pause_reading(self) -> None:
        if self.transport is not None:
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        if self.transport is not None:
            self.transport.resumeProducing()

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        if self.transport is not None:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.unregisterProducer()
            self.transport.abortConnection()
