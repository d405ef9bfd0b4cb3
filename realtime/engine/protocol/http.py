"""The HTTP side of a connection: the request, its ASGI scope, and the bytes of the answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from websockets.utils import accept_key

from realtime.engine.protocol.problems import problem_response
from realtime.engine.protocol.upgrade import offered_subprotocols

__all__ = [
    "Headers",
    "Request",
    "build_scope",
    "parse_request",
    "problem_answer",
    "response_head",
    "upgrade_answer",
    "wants_websocket",
]

Headers = list[tuple[bytes, bytes]]

#: Headers of an upgrade answer that belong to the protocol, not to the application.
_RESERVED = frozenset(
    {
        b"connection",
        b"content-length",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-protocol",
        b"transfer-encoding",
        b"upgrade",
    }
)

#: CR, LF and NUL would let a value end its line (RFC 9110, 5.5).
_LINE_BREAK = re.compile(rb"[\r\n\x00]")

#: A proxy's header that names the prefix under which the site lives; Daphne believes it from anybody.
_ROOT_PATH_HEADER = b"daphne-root-path"


@dataclass(frozen=True, slots=True)
class Request:
    """A request that asks for the upgrade.

    Args:
        target: the request target as it was received.
        headers: pairs of name in lower case and value, repeated names kept apart.
    """

    target: bytes
    headers: Headers

    @property
    def path(self) -> bytes:
        """The target without the query."""
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        """The query, empty without one."""
        return self.target.partition(b"?")[2]

    @property
    def subprotocols(self) -> list[str]:
        """What the client offers, in its order."""
        return offered_subprotocols({"headers": self.headers})

    def values(self, name: bytes) -> list[str]:
        """Return the values of a header."""
        return [value.decode("latin-1") for key, value in self.headers if key == name]


def wants_websocket(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether a request names ``websocket`` in an ``Upgrade`` header."""
    return any(
        name == b"upgrade" and b"websocket" in [token.strip() for token in value.lower().split(b",")]
        for name, value in headers
    )


def parse_request(head: bytes) -> Request:
    """Parse a request head that an HTTP server has parsed before and put together again.

    Raises:
        ValueError: if it is no request.
    """
    request_line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    _, target, _ = request_line.split(b" ")
    pairs = (line.split(b":", 1) for line in lines)
    return Request(target, [(name.lower(), value.strip()) for name, value in pairs])


def build_scope(
    request: Request,
    *,
    scheme: str,
    client: Any,
    server: Any,
    root_path: str,
    extensions: dict[str, Any],
) -> dict[str, Any]:
    """Return the ASGI scope of a connection.

    ``spec_version`` is 2.3: from 2.4 on ``send`` raises after the end, and here it is harmless.

    Args:
        request: the request.
        scheme: ``ws`` or ``wss``.
        client: host and port of the peer, None for a UNIX socket.
        server: host and port of this side, None for a UNIX socket.
        root_path: prefix under which the application is mounted.
        extensions: what this server can do beyond the specification.
    """
    path = request.path
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": scheme,
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": request.query,
        "root_path": root_path,
        # A name with an underscore could pass for another one behind WSGI (CVE-2015-0219).
        "headers": [pair for pair in request.headers if b"_" not in pair[0] and pair[0] != _ROOT_PATH_HEADER],
        "client": client,
        "server": server,
        "subprotocols": request.subprotocols,
        "extensions": extensions,
    }


def upgrade_answer(
    request: Request, *, subprotocol: str | None, extension: str | None, headers: Iterable[tuple[bytes, bytes]]
) -> bytes:
    """Return the 101 response (RFC 6455, 4.2.2).

    Args:
        request: the request; its key has been checked.
        subprotocol: one of those that the client offered.
        extension: value of ``Sec-WebSocket-Extensions``.
        headers: further headers of the application.

    Raises:
        ValueError: for a subprotocol that was not offered, and for headers that are not legal here.
    """
    fields: Headers = [
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Accept", accept_key(request.values(b"sec-websocket-key")[0].strip()).encode()),
    ]
    if subprotocol is not None:
        if subprotocol not in request.subprotocols:
            raise ValueError(f"websocket.accept: the client did not offer the subprotocol {subprotocol!r}")
        fields.append((b"Sec-WebSocket-Protocol", subprotocol.encode("ascii")))
    if extension is not None:
        fields.append((b"Sec-WebSocket-Extensions", extension.encode("ascii")))
    for name, value in headers:
        if name.lower() in _RESERVED:
            raise ValueError(f"websocket.accept: the header {name!r} is the server's")
        fields.append((name, value))
    return _head(101, fields)


def response_head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of a response that ends with the connection.

    Raises:
        ValueError: for headers that are not legal.
    """
    kept = [(name, value) for name, value in headers if name.lower() != b"connection"]
    return _head(status, [*kept, (b"Connection", b"close")])


def problem_answer(status: int, detail: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return a whole ``application/problem+json`` response that ends the connection (RFC 9457)."""
    fields, body = problem_response(status, detail, headers)
    return response_head(status, fields) + body


def _head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    lines = [f"HTTP/1.1 {status} {phrase}".encode()]
    for name, value in headers:
        if not name or _LINE_BREAK.search(name + value):
            raise ValueError(f"{name!r}: {value!r} is no legal header")
        lines.append(name + b": " + value)
    return b"\r\n".join([*lines, b"", b""])
