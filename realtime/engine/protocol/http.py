"""The handshake as HTTP: the request, what it must carry, its ASGI scope, and the response (RFC 6455, 4.2).

Errors are answered with ``application/problem+json`` (RFC 9457).
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from websockets.utils import accept_key

from realtime.engine.protocol.deflate import Deflate, negotiate
from realtime.engine.protocol.errors import HandshakeRejected
from realtime.engine.protocol.policy import Limits, is_token

Headers = list[tuple[bytes, bytes]]

#: Of a problem (RFC 9457).
CONTENT_TYPE = "application/problem+json"

#: The only version of the protocol that was ever standardised (RFC 6455, 4.1).
VERSION = "13"

#: Decoded length in bytes of ``Sec-WebSocket-Key`` (RFC 6455, 4.1).
KEY_LENGTH = 16

#: Headers of a 101 response that the server sets; an application may not.
_RESERVED = frozenset(
    b"connection content-length transfer-encoding upgrade"
    b" sec-websocket-accept sec-websocket-extensions sec-websocket-protocol".split()
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
    def subprotocols(self) -> list[str]:
        """What the client offers, in its order."""
        return offered_subprotocols({"headers": self.headers})


def parse_request(head: bytes) -> Request:
    """Parse a request head that an HTTP server has parsed before; raise ``ValueError`` for anything else."""
    request_line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    _, target, _ = request_line.split(b" ")
    pairs = (line.split(b":", 1) for line in lines)
    return Request(target, [(name.lower(), value.strip()) for name, value in pairs])


# What a request asks for


def header_values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """Return the values of every header line called ``name`` (in lower case)."""
    return [value.decode("latin-1").strip() for key, value in headers if key == name]


def wants_websocket(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a request names ``websocket`` in an ``Upgrade`` header."""
    return "websocket" in _options(headers, b"upgrade")


def upgrade_problem(method: str, http_version: str, headers: Iterable[tuple[bytes, bytes]]) -> HandshakeRejected | None:
    """Return what keeps a request from being a WebSocket handshake, None when nothing does (RFC 6455, 4.2.1).

    The names of the headers are in lower case. The detail of the 400 says which header is missing or wrong, and what
    it must be.
    """
    if method != "GET":
        return HandshakeRejected(400, f"A WebSocket handshake is a GET request, not {method[:16]}.")
    if http_version != "1.1":
        return HandshakeRejected(400, f"A WebSocket handshake needs HTTP/1.1, not HTTP/{http_version[:8]}.")
    headers = list(headers)
    for name, option, header in (
        (b"connection", "upgrade", "Connection: Upgrade"),
        (b"upgrade", "websocket", "Upgrade: websocket"),
    ):
        if option not in _options(headers, name):
            return HandshakeRejected(400, f"This is a WebSocket endpoint: the request has no '{header}' header.")
    hosts, versions, keys = (
        header_values(headers, name) for name in (b"host", b"sec-websocket-version", b"sec-websocket-key")
    )
    if len(hosts) != 1 or not hosts[0]:
        return HandshakeRejected(400, "The request needs exactly one 'Host' header.")
    if versions != [VERSION]:
        return HandshakeRejected(
            400,
            "The request needs one 'Sec-WebSocket-Version: 13' header.",
            headers=[("Sec-WebSocket-Version", VERSION)],
        )
    if len(keys) != 1 or not _is_key(keys[0]):
        return HandshakeRejected(400, "The request needs one 'Sec-WebSocket-Key' header: 16 random bytes in base64.")
    return None


def offered_subprotocols(scope: Mapping[str, Any]) -> list[str]:
    """Return the subprotocols that a client offers, in its order; a name that is no token is no offer.

    Args:
        scope: its ``subprotocols`` count where it has some, else its ``headers``, whose names are in lower case.
    """
    offers = scope.get("subprotocols") or _items(scope["headers"], b"sec-websocket-protocol")
    return [offer for offer in offers if is_token(offer)]


def _items(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """Return the items of a list; several lines of the header count as one (RFC 9110, 5.3)."""
    return [item.strip(" \t") for line in header_values(headers, name) for item in line.split(",")]


def _options(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> set[str]:
    return {item.lower() for item in _items(headers, name)}


def _is_key(value: str) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == KEY_LENGTH
    except binascii.Error:
        return False


def build_scope(request: Request, *, scheme: str, client: Any, server: Any, root_path: str) -> dict[str, Any]:
    """Return the ASGI scope of a connection; ``client`` and ``server`` are None for a UNIX socket.

    ``spec_version`` is 2.3: from 2.4 on ``send`` raises after the end, and here it is harmless.
    """
    path = request.path
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": scheme,
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": request.target.partition(b"?")[2],
        "root_path": root_path,
        # A name with an underscore could pass for another one behind WSGI (CVE-2015-0219).
        "headers": [pair for pair in request.headers if b"_" not in pair[0] and pair[0] != _ROOT_PATH_HEADER],
        "client": client,
        "server": server,
        "subprotocols": request.subprotocols,
        "extensions": {},
    }


# Responses


class HandshakeResponse:
    """Makes the bytes of the response to one handshake from the application's events.

    Attributes:
        status: of the response that the application has started, None before.
        has_begun: whether a part of that response has been made, so that no other one is possible.
    """

    __slots__ = ("_fields", "_headers", "_request", "has_begun", "status")

    def __init__(self, request: Request, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        self._request = request
        self._headers = headers
        self._fields: Headers = []
        self.status: int | None = None
        self.has_begun = False

    def upgrade(self, event: dict[str, Any], defaults: Limits) -> tuple[bytes, Limits, Deflate | None]:
        """Return the 101 response to a ``websocket.accept``, the limits, and the compression that was agreed on.

        Raises:
            TypeError: for a policy with fields that the server does not know.
            ValueError: for a subprotocol that was not offered, and for headers that are not legal.
        """
        request, policy, subprotocol = self._request, event.get("policy"), event.get("subprotocol")
        limits = defaults if policy is None else _limits(defaults, tuple(policy.items()))
        key = header_values(request.headers, b"sec-websocket-key")[0]
        fields: Headers = [
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Accept", accept_key(key).encode()),
        ]
        if subprotocol is not None:
            if subprotocol not in request.subprotocols:
                raise ValueError(f"websocket.accept: the client did not offer the subprotocol {subprotocol!r}")
            fields.append((b"Sec-WebSocket-Protocol", subprotocol.encode("ascii")))
        deflate = None
        offers = header_values(request.headers, b"sec-websocket-extensions")
        if limits.compression and (agreed := negotiate(offers)) is not None:
            extension, deflate = agreed
            fields.append((b"Sec-WebSocket-Extensions", extension.encode("ascii")))
        for name, value in (*self._headers, *(event.get("headers") or ())):
            if name.lower() in _RESERVED:
                raise ValueError(f"websocket.accept: the header {name!r} is the server's")
            fields.append((name, value))
        return _head(101, fields), limits, deflate

    def start(self, event: dict[str, Any]) -> None:
        """Take a ``websocket.http.response.start``; raise ``ValueError`` for headers that are not legal."""
        status = int(event["status"])
        fields = [(bytes(name), bytes(value)) for name, value in event.get("headers") or ()]
        response_head(status, fields)  # raises for what is not legal
        self.status, self._fields = status, fields

    def body(self, event: dict[str, Any]) -> bytes:
        """Return what a ``websocket.http.response.body`` adds to the response; the head comes with the first one."""
        body = bytes(event.get("body") or b"")
        if self.has_begun:
            return body
        assert self.status is not None
        self.has_begun = True
        fields = [*self._headers, *self._fields]
        if not event.get("more_body") and all(name.lower() != b"content-length" for name, _ in fields):
            fields.append((b"Content-Length", str(len(body)).encode()))
        return response_head(self.status, fields) + body

    def problem(self, status: int, detail: str) -> bytes:
        """Return a whole problem response (RFC 9457)."""
        fields, body = problem_response(status, detail)
        return response_head(status, [*self._headers, *fields]) + body


@functools.lru_cache(maxsize=256)
def _limits(defaults: Limits, fields: tuple[tuple[str, Any], ...]) -> Limits:
    """Return the limits of an endpoint; its connections share one object."""
    return replace(defaults, **dict(fields))


def response_head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of a response that ends the connection; raise ``ValueError`` for headers that are not legal."""
    kept = [(name, value) for name, value in headers if name.lower() != b"connection"]
    return _head(status, [*kept, (b"Connection", b"close")])


def problem_body(status: int, detail: str) -> bytes:
    """Return the JSON body of a problem; ``detail`` says what was wrong with this request."""
    return json.dumps({"title": HTTPStatus(status).phrase, "status": int(status), "detail": detail}).encode()


def problem_response(status: int, detail: str, headers: Iterable[tuple[str, str]] = ()) -> tuple[Headers, bytes]:
    """Return ASGI headers and body of a problem, with further headers, for instance ``Retry-After``."""
    body = problem_body(status, detail)
    return [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers),
    ], body


def problem_answer(status: int, detail: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return a problem as a whole response that ends the connection."""
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
