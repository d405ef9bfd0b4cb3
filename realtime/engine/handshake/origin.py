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
from django.http import parse_cookie
from django.http.request import split_domain_port, validate_host

from realtime.engine.close import CloseCode
from realtime.engine.errors import HandshakeRejected
from realtime.engine.monitoring.refusals import log_refusal
from realtime.engine.policy import SocketPolicy
from realtime.engine.protocol.problems import problem_response

__all__ = [
    "check_host",
    "check_origin",
    "check_same_origin",
    "deny",
    "header_values",
    "is_same_origin",
    "parse_query",
    "refusing",
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


# Host, and Origin (RFC 6454; RFC 6455, 10.2)


def check_host(scope: Scope) -> None:
    """Hold the ``Host`` header to ``ALLOWED_HOSTS``, as Django does for HTTP; a test's scope may have none.

    A name that a foreign site has pointed to this machine (DNS rebinding) would pass for the same origin.

    Raises:
        HandshakeRejected: 400 for a host that is not allowed.
    """
    host = _request_host(scope)
    if host is None:
        return
    name, _ = split_domain_port(host)
    if not name or not validate_host(name, _allowed_hosts()):
        raise HandshakeRejected(
            400, f"The host {host[:200]!r} is not one of this site's. Add its name to DJANGO_ALLOWED_HOSTS."
        )


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
    """Return the origin when this endpoint may be used from it; ``check_host()`` comes before.

    Args:
        scope: the ASGI scope.
        policy: its ``allowed_origins`` decide; None stands for the request's host and ``ALLOWED_HOSTS``.

    Raises:
        HandshakeRejected: 403 for an origin that is not allowed, and for none where the policy requires one.
    """
    origin = request_origin(scope)
    if origin is None and policy.require_origin:
        raise HandshakeRejected(403, "This endpoint is for pages of a browser: the request has no Origin header.")
    if _is_allowed(origin, scope, policy):
        return origin
    raise HandshakeRejected(
        403,
        f"The origin {_shown(origin)} is not allowed at {_address(scope)}: scheme, host and port count. "
        "Add its host to DJANGO_ALLOWED_HOSTS, or the origin to the endpoint's SocketPolicy.allowed_origins.",
    )


def check_same_origin(scope: Scope) -> None:
    """Refuse what another site's page has sent: the check for a consumer that states no policy.

    It may take the session cookie, which a browser sends from any site, for authentication. So the cookie needs an
    ``Origin`` beside it; a client without either is no browser. A test's scope without a ``Host`` is let through.

    Raises:
        HandshakeRejected: 403 for a foreign origin, and for a session cookie without an origin.
    """
    origin = request_origin(scope)
    if _request_host(scope) is None:
        return
    if origin is None and _has_session_cookie(scope):
        raise HandshakeRejected(403, "The request has a session cookie but no Origin header.")
    if origin is not None and not _matches_host(origin, scope):
        raise HandshakeRejected(
            403,
            f"The origin {_shown(origin)} is not {_address(scope)}, and the endpoint states no policy that allows it "
            "(SocketPolicy.allowed_origins of a PolicyConsumer).",
        )


def is_same_origin(scope: Scope) -> bool:
    """Tell whether a page of this very scheme, host and port sent the request, as its ``Origin`` says."""
    origin = request_origin(scope)
    return origin is not None and _matches_host(origin, scope)


def _is_allowed(origin: str | None, scope: Scope, policy: SocketPolicy) -> bool:
    allowed = policy.allowed_origins
    if callable(allowed):
        return bool(allowed(origin, scope))
    if origin is None:
        return True
    if allowed is not None:
        return any(_matches_pattern(origin, pattern) for pattern in allowed)
    return _matches_host(origin, scope) or _matches_allowed_host(origin, scope)


def _matches_host(origin: str, scope: Scope) -> bool:
    parts, site = _split(origin), _site(scope)
    if parts is None or site is None:
        return False
    return parts.hostname == site.hostname and _scheme_and_port(parts) == _scheme_and_port(site)


def _matches_allowed_host(origin: str, scope: Scope) -> bool:
    """Tell whether an origin is one of ``ALLOWED_HOSTS``, by the scheme and on the port of the request."""
    parts, site = _split(origin), _site(scope)
    if parts is None or (site is not None and _scheme_and_port(parts) != _scheme_and_port(site)):
        return False
    # "*" lets any Host header in; it is no statement about which other sites may connect.
    named_hosts = [host for host in _allowed_hosts() if host != "*"]
    return validate_host(_hostname(parts), named_hosts)


def _allowed_hosts() -> list[str]:
    return DEVELOPMENT_HOSTS if settings.DEBUG and not settings.ALLOWED_HOSTS else settings.ALLOWED_HOSTS


def _request_host(scope: Scope) -> str | None:
    """Return the host that was asked for, as ``HttpRequest.get_host()`` finds it; None without the header."""
    forwarded = header_values(scope, b"x-forwarded-host") if settings.USE_X_FORWARDED_HOST else []
    return ",".join(forwarded or header_values(scope, b"host")) or None


def _scheme(scope: Scope) -> str:
    """Return ``http`` or ``https``, as ``HttpRequest.scheme`` finds it."""
    if settings.SECURE_PROXY_SSL_HEADER:
        name, secure = settings.SECURE_PROXY_SSL_HEADER
        header = name.removeprefix("HTTP_").replace("_", "-").lower().encode()
        for value in header_values(scope, header):
            return "https" if value.split(",")[0].strip() == secure else "http"
    return "https" if scope.get("scheme") in ("wss", "https") else "http"


def _address(scope: Scope) -> str:
    return f"{_scheme(scope)}://{_request_host(scope) or ''}"


def _site(scope: Scope) -> SplitResult | None:
    """Return scheme, host and port that were asked for; None in a test's scope without a host."""
    return None if _request_host(scope) is None else _split(_address(scope))


def _shown(origin: str | None) -> str:
    return "None (no Origin header)" if origin is None else repr(origin[:200])


def _has_session_cookie(scope: Scope) -> bool:
    return any(settings.SESSION_COOKIE_NAME in parse_cookie(line) for line in header_values(scope, b"cookie"))


def _matches_pattern(origin: str, pattern: str) -> bool:
    if pattern == "*":
        return True
    parts, wanted = _split(origin), _split(pattern)
    if parts is None or wanted is None:
        return False
    if _scheme_and_port(parts) != _scheme_and_port(wanted):
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


def _hostname(parts: SplitResult) -> str:
    hostname = parts.hostname or ""
    return f"[{hostname}]" if ":" in hostname else hostname


def _scheme_and_port(parts: SplitResult) -> tuple[str, int | None]:
    return parts.scheme, parts.port or DEFAULT_PORTS.get(parts.scheme)


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


def refusing(scope: Scope, send: Send) -> Send:
    """Return a ``send`` by which a ``websocket.close`` before the accept becomes a problem response too.

    The wire makes one itself. Other servers with denial responses answer a bare 403.
    """
    extensions = scope.get("extensions", {})
    if "websocket.http.response" not in extensions or "websocket.policy" in extensions:
        return send
    is_answered = False

    async def send_or_deny(event: dict[str, Any]) -> None:
        nonlocal is_answered
        if is_answered or event["type"] != "websocket.close":
            is_answered = True
            await send(event)
            return
        is_answered = True
        detail = event.get("reason") or "The application refused the connection."
        await deny(scope, send, HandshakeRejected(403, detail))

    return send_or_deny
