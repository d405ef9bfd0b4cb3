"""The adapter for asyncio transports: sockets taken over from Twisted, and uvicorn's."""

from __future__ import annotations

import asyncio
from typing import cast

from realtime.engine.server.asgi_connection import Session

__all__ = ["AsyncioAdapter"]


class AsyncioAdapter(asyncio.Protocol):
    """Connects a session to an asyncio transport.

    Args:
        session: the session.
    """

    __slots__ = ("_session", "_transport")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._transport: asyncio.Transport | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the conversation."""
        self._transport = cast("asyncio.Transport", transport)
        self._session.connected(self)

    def data_received(self, data: bytes) -> None:
        """Pass on what the peer sent."""
        self._session.receive_data(data)

    def eof_received(self) -> None:
        """Let the transport close itself: a peer that has closed its side takes part no more (RFC 6455, 7.1.1)."""

    def pause_writing(self) -> None:
        """Pass on that the peer does not read."""
        self._session.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that it reads again."""
        self._session.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """Pass on the end."""
        self._transport = None
        self._session.connection_lost()

    # realtime.engine.server.asgi_connection.Transport

    def write(self, data: bytes) -> None:
        """See ``Transport``."""
        if self._transport is not None:
            self._transport.write(data)

    def pending(self) -> int:
        """See ``Transport``."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        """See ``Transport``."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See ``Transport``."""
        if self._transport is not None:
            self._transport.resume_reading()

    def finish(self) -> None:
        """See ``Transport``; TLS has no half of a connection to close."""
        if self._transport is None:
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def abort(self) -> None:
        """See ``Transport``."""
        if self._transport is not None:
            self._transport.abort()
