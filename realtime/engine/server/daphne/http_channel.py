"""Twisted's HTTP channel with an absolute deadline for a request head, and with answers to what it cannot read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.web.http import HTTPChannel

from realtime.engine.monitoring.logs import log_refusal
from realtime.engine.protocol.http import problem_answer, wants_websocket

#: Seconds that a client has to finish a request line and headers once it has begun.
HEAD_TIMEOUT = 10
#: Bytes per second at which the largest body has to arrive; slower ones only hold a connection.
MIN_BODY_RATE = 8192
#: Bytes of a request line, and of a whole head (RFC 9110, 4.1 recommends at least 8000 for a URI).
MAX_REQUEST_LINE = 8192
MAX_HEAD = 16384
MAX_HEADERS = 128
#: Seconds that a refused client has to read the answer before the connection is ended.
LINGER_SECONDS = 2


class WireChannel(HTTPChannel):
    """One client connection while it speaks HTTP; refuses with a problem response, where Twisted hangs up.

    Attributes:
        upgraded: bytes behind an upgrade request, None while there is none.
    """

    transport: Any
    factory: Any
    _networkProducer: Any  # noqa: N815
    MAX_LENGTH = MAX_HEAD
    totalHeadersSize = MAX_HEAD + 1  # noqa: N815, Twisted names it; this class is asked first
    maxHeaders = MAX_HEADERS  # noqa: N815

    def __init__(self) -> None:
        super().__init__()
        self._head_size = 0
        self._head_lines = 0
        self._in_head = True
        self._timer: Any = None  # of a head or a body
        self._is_refused = False
        self.upgraded: list[bytes] | None = None

    # Twisted

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Parse what was received; the time runs from the first byte of a head."""
        if self._is_refused:
            return
        super().dataReceived(data)
        if self._in_head and self._timer is None and not self._is_refused and data.strip(b"\r\n"):
            self._timer = self.callLater(HEAD_TIMEOUT, self._head_timed_out)

    def lineReceived(self, line: bytes) -> None:  # noqa: N802
        """Check the size of the head."""
        if self._is_refused:
            return
        if self._head_size + len(line) > (MAX_HEAD if self._head_lines else MAX_REQUEST_LINE):
            self.lineLengthExceeded(line)
            return
        self._head_size += len(line)
        self._head_lines += bool(line)
        if self._head_lines > MAX_HEADERS + 1:
            self.refuse(431, f"A request has at most {MAX_HEADERS} headers.")
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: N802
        """Refuse a line that makes the head too long."""
        if self._head_lines == 0:
            self.refuse(414, f"The request line has at most {MAX_REQUEST_LINE} bytes.")
        else:
            self.refuse(431, f"The request line and headers have at most {MAX_HEAD} bytes.")

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802, Twisted's one place for a bad request
        self.refuse(400, "The request is not valid HTTP/1.1.")

    def allHeadersReceived(self) -> None:  # noqa: N802
        """Refuse a body that is too long, of uncertain length, or that of a handshake; limit the time of any other."""
        self._in_head = False
        self._stop_timer()
        problem = self._transfer_problem()
        if problem is not None:
            self.refuse(400, problem)
            return
        if self.length is not None and self.length > self.factory.max_request_body:
            self.refuse_body()
            return
        super().allHeadersReceived()
        if self.length == 0:
            return
        if wants_websocket(self._headers()):
            self.refuse(400, "A WebSocket handshake has no body.")
        else:
            self._timer = self.callLater(self._body_seconds, self._body_timed_out)

    def allContentReceived(self) -> None:  # noqa: N802
        self._stop_timer()
        if not self._is_refused:
            super().allContentReceived()

    def rawDataReceived(self, data: bytes) -> None:  # noqa: N802
        """Keep what follows an upgrade request: these are frames."""
        if self.upgraded is not None:
            self.upgraded.append(data)
        elif not self._is_refused:
            super().rawDataReceived(data)

    def requestDone(self, request: Any) -> None:  # noqa: N802
        self._in_head = True
        self._head_size = self._head_lines = 0
        super().requestDone(request)

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        self._stop_timer()
        super().connectionLost(reason)

    def timeoutConnection(self) -> None:  # noqa: N802
        self._stop_timer()
        super().timeoutConnection()

    # Refusals

    def refuse(self, status: int, detail: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Answer with a problem response and end the connection, without a reset that would swallow the answer.

        Closing a socket that has unread data resets the connection. So this side is closed first, and what still
        arrives is thrown away for a while.
        """
        if self._is_refused:
            return
        self._is_refused = True
        self._stop_timer()
        self.setTimeout(None)
        # ``_path`` is there from the request line to the end of the body, then the request has it.
        path = getattr(self, "_path", None) or (self.requests[-1].uri if self.requests else b"")
        log_refusal(status, detail, path, self._headers())
        transport, name = self.transport, self.factory.server.server_name
        server = [("Server", name)] if name else []
        transport.write(problem_answer(status, detail, [*server, *headers]))
        transport.unregisterProducer()
        if IHalfCloseableDescriptor.providedBy(transport):
            transport.loseWriteConnection()
            transport.resumeProducing()
            self._abortingCall = self.callLater(LINGER_SECONDS, self.forceAbortClient)
        else:
            transport.loseConnection()

    def refuse_body(self) -> None:
        """Answer a body that is longer than ``max_request_body``, as announced or as received."""
        self.refuse(413, f"The body of a request has at most {self.factory.max_request_body} bytes.")

    def _transfer_problem(self) -> str | None:
        """Return what makes the end of the body uncertain; a proxy could see another one (RFC 9112, 6.1 and 6.3).

        Twisted refuses unknown codings and a second ``chunked``, but passes over ``identity`` and the version.
        """
        codings = [value.lower() for name, value in self._headers() if name == b"transfer-encoding"]
        if codings and self._version != b"HTTP/1.1":
            return "A request with a Transfer-Encoding header needs HTTP/1.1."
        if codings not in ([], [b"chunked"]):
            return "A Transfer-Encoding other than 'chunked', given once, is not known."
        return None

    def _headers(self) -> list[tuple[bytes, bytes]]:
        return raw_headers(self.requests[-1]) if self.requests else []

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _head_timed_out(self) -> None:
        self.refuse(408, f"The request was not complete after {HEAD_TIMEOUT} seconds.")

    @property
    def _body_seconds(self) -> float:
        return HEAD_TIMEOUT + self.factory.max_request_body / MIN_BODY_RATE

    def _body_timed_out(self) -> None:
        self.refuse(408, f"The body was not complete after {self._body_seconds:g} seconds.")

    # The upgrade

    def leave(self) -> bytes:
        """Let go of the connection, which speaks WebSocket from now on; return the bytes behind the request.

        HTTPChannel, request and transport refer to each other; without these cycles they are freed at once.
        """
        rest = b"".join(self.upgraded or ())
        self.setTimeout(None)
        for request in self.requests:
            request.channel = request.transport = None
        self.requests.clear()
        self.transport.unregisterProducer()
        self._networkProducer = self.transport = None
        return rest


def raw_headers(request: Any) -> list[tuple[bytes, bytes]]:
    """Return a Twisted request's headers, names in lower case, repeated ones kept apart."""
    return [(name.lower(), value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values]
