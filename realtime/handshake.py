"""The checks between a request and its acceptance, in the order in which they are made.

Each check is a function that returns what it found or raises ``HandshakeRejected`` with the status that the
contract names. Nothing is accepted before all of them have passed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qsl, urlsplit

import msgspec
from django.conf import settings
from django.http.request import validate_host

from realtime.close import CloseCode
from realtime.errors import HandshakeRejected
from realtime.policy import SocketPolicy
from realtime.problems import problem_response
from realtime.refusals import log_refusal

__all__ = [
    "check_origin",
    "deny",
    "header_values",
    "is_same_origin",
    "parse_query",
    "request_origin",
]

Scope = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Query = TypeVar("Query", bound=msgspec.Struct)

#: More parameters than this in one query string is an attack on the parser, not a request.
MAX_QUERY_PARAMETERS = 100

#: What a client without a denial response sees instead of the HTTP status.
CLOSE_CODE_FOR_STATUS = {
    401: CloseCode.UNAUTHORIZED,
    403: CloseCode.FORBIDDEN,
    429: CloseCode.TRY_AGAIN_LATER,
    500: CloseCode.INTERNAL_ERROR,
    503: CloseCode.SERVICE_RESTART,
}

#: Hosts that Django accepts in development, where ALLOWED_HOSTS is empty.
DEVELOPMENT_HOSTS = [".localhost", "127.0.0.1", "[::1]"]

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

_INTEGER = re.compile(r"-?[0-9]+")
_MISSING = re.compile(r"missing required field `([^`]+)`")
_AT = re.compile(r" - at `\$\.([^`]+)`$")


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Return the values of every header line called ``name`` (in lower case)."""
    return [value.decode("latin-1").strip() for header, value in scope["headers"] if header == name]


# Origin (RFC 6454; RFC 6455, 10.2)


def request_origin(scope: Scope) -> str | None:
    """Return the ``Origin`` header, None for a client that is no browser.

    Raises:
        HandshakeRejected: 403 for more than one ``Origin`` header (RFC 6454, 7.3 allows one).
    """
    match header_values(scope, b"origin"):
        case []:
            return None
        case [origin]:
            return origin
    raise HandshakeRejected(403, "The request has more than one Origin header.")


def check_origin(scope: Scope, policy: SocketPolicy) -> str | None:
    """Return the origin when this endpoint may be used from it.

    Args:
        scope: the ASGI scope.
        policy: its ``allowed_origins`` decide; None stands for the request's host and ``ALLOWED_HOSTS``.

    Raises:
        HandshakeRejected: 403 for an origin that is not allowed.
    """
    origin = request_origin(scope)
    if origin is None or _is_allowed(origin, scope, policy):
        return origin
    raise HandshakeRejected(
        403,
        f"The origin {origin[:200]!r} is not allowed here. Add its host to DJANGO_ALLOWED_HOSTS, "
        "or the origin to the endpoint's SocketPolicy.allowed_origins.",
    )


def is_same_origin(scope: Scope) -> bool:
    """Tell whether a page of this very host and port sent the request, as its ``Origin`` says."""
    origin = request_origin(scope)
    return origin is not None and _matches_host(origin, scope)


def _is_allowed(origin: str, scope: Scope, policy: SocketPolicy) -> bool:
    allowed = policy.allowed_origins
    if callable(allowed):
        return bool(allowed(origin, scope))
    if allowed is not None:
        return any(_matches_pattern(origin, pattern) for pattern in allowed)
    hostname = _hostname(origin)
    if hostname is None:
        return False
    # "*" lets any Host header in; it is no statement about which other sites may connect.
    named_hosts = [host for host in settings.ALLOWED_HOSTS if host != "*"]
    if settings.DEBUG and not settings.ALLOWED_HOSTS:
        named_hosts = DEVELOPMENT_HOSTS
    if validate_host(hostname, named_hosts):
        return True
    # Behind a wildcard nothing but the Host header says who we are.
    return (settings.DEBUG or "*" in settings.ALLOWED_HOSTS) and _matches_host(origin, scope)


def _matches_host(origin: str, scope: Scope) -> bool:
    parts = _split(origin)
    hosts = header_values(scope, b"host")
    if parts is None or len(hosts) != 1:
        return False
    host = _split(f"{parts.scheme}://{hosts[0]}")
    return host is not None and (parts.hostname, _port(parts)) == (host.hostname, _port(host))


def _matches_pattern(origin: str, pattern: str) -> bool:
    if pattern == "*":
        return True
    parts, wanted = _split(origin), _split(pattern)
    if parts is None or wanted is None:
        return False
    if (parts.scheme, _port(parts)) != (wanted.scheme, _port(wanted)):
        return False
    hostname, wanted_host = parts.hostname or "", wanted.hostname or ""
    if wanted_host.startswith("*."):
        return hostname.endswith(wanted_host[1:])
    return hostname == wanted_host


def _split(origin: str) -> SplitResult | None:
    """Split an origin; None for ``null`` and everything else that is not scheme, host and port."""
    try:
        parts = urlsplit(origin)
        port_is_number = parts.port is None or parts.port >= 0
    except ValueError:
        return None
    return parts if parts.hostname and port_is_number and parts.username is None else None


def _hostname(origin: str) -> str | None:
    parts = _split(origin)
    if parts is None or parts.hostname is None:
        return None
    return f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname


def _port(parts: SplitResult) -> int | None:
    return parts.port or DEFAULT_PORTS.get(parts.scheme)


# Query parameters


def parse_query(scope: Scope, query_type: type[Query]) -> Query:
    """Return the query string as a struct.

    Args:
        scope: the ASGI scope.
        query_type: a ``msgspec.Struct``; parameters that it does not name are ignored.

    Raises:
        HandshakeRejected: 400; the detail names the parameter that is missing, malformed or given twice.
    """
    values = _query_values(scope["query_string"])
    for name in _integer_fields(query_type) & values.keys():
        if _INTEGER.fullmatch(values[name]) is None:
            raise HandshakeRejected(400, f"Query parameter {name!r}: expected an integer in decimal digits.")
    try:
        return msgspec.convert(values, query_type, strict=False)
    except msgspec.ValidationError as error:
        raise HandshakeRejected(400, _query_detail(str(error))) from None


def _query_values(query_string: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_QUERY_PARAMETERS,
        )
    except UnicodeDecodeError:
        raise HandshakeRejected(400, "The query string is not percent-encoded UTF-8.") from None
    except ValueError:
        raise HandshakeRejected(400, f"The query string has more than {MAX_QUERY_PARAMETERS} parameters.") from None
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise HandshakeRejected(400, f"Query parameter {name[:64]!r} is given more than once.")
        values[name] = value
    return values


@functools.lru_cache
def _integer_fields(query_type: type[msgspec.Struct]) -> frozenset[str]:
    """Names of the integer fields: msgspec's lax mode would take ``7.0`` and ``1e1`` for them too."""
    info = msgspec.inspect.type_info(query_type)
    assert isinstance(info, msgspec.inspect.StructType)
    return frozenset(field.encode_name for field in info.fields if _may_be_integer(field.type))


def _may_be_integer(kind: msgspec.inspect.Type) -> bool:
    match kind:
        case msgspec.inspect.Metadata(type=inner):
            return _may_be_integer(inner)
        case msgspec.inspect.UnionType(types=types):
            return any(_may_be_integer(member) for member in types)
    return isinstance(kind, msgspec.inspect.IntType)


def _query_detail(message: str) -> str:
    """Turn msgspec's words into a sentence that names the parameter."""
    if missing := _MISSING.search(message):
        return f"Query parameter {missing[1]!r} is missing."
    if at := _AT.search(message):
        problem = message[: at.start()]
        return f"Query parameter {at[1]!r}: {problem[:1].lower()}{problem[1:]}."
    return f"Query string: {message}."


# The answer


async def deny(scope: Scope, send: Send, rejection: HandshakeRejected) -> None:
    """Answer a handshake with an HTTP error, and log one line about it.

    Where the server has no denial response (ASGI extension ``websocket.http.response``), it is a
    ``websocket.close``, which such servers turn into a bare 403.

    Args:
        scope: the ASGI scope of the websocket.
        send: the ASGI send callable.
        rejection: status, detail and headers.
    """
    log_refusal(rejection.status, rejection.detail, scope["path"].encode(), scope["headers"])
    if "websocket.http.response" not in scope.get("extensions", ()):
        code = CLOSE_CODE_FOR_STATUS.get(rejection.status, CloseCode.POLICY_VIOLATION)
        await send({"type": "websocket.close", "code": int(code), "reason": rejection.detail})
        return
    headers, body = problem_response(rejection.status, rejection.detail, rejection.headers)
    await send({"type": "websocket.http.response.start", "status": int(rejection.status), "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
