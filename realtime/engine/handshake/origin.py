"""The ``Host`` and ``Origin`` headers of a handshake (RFC 6454; RFC 6455, 10.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.conf import settings
from django.http import parse_cookie
from django.http.request import split_domain_port, validate_host

from realtime.engine.protocol.errors import HandshakeRejected
from realtime.engine.protocol.http import header_values
from realtime.engine.protocol.policy import SocketPolicy

Scope = Mapping[str, Any]

#: Hosts that Django accepts in development, where ALLOWED_HOSTS is empty.
DEVELOPMENT_HOSTS = [".localhost", "127.0.0.1", "[::1]"]

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def check_host(scope: Scope) -> None:
    """Hold the ``Host`` header to ``ALLOWED_HOSTS``, as Django does for HTTP; a test's scope may have none.

    A name that a foreign site has pointed to this machine (DNS rebinding) would pass for the same origin.
    """
    host = _request_host(scope)
    if host is None:
        return
    name, _ = split_domain_port(host)
    if not name or not validate_host(name, _allowed_hosts()):
        raise HandshakeRejected(
            400, f"The host {host[:200]!r} is not one of this site's. Add its name to DJANGO_ALLOWED_HOSTS."
        )


def check_origin(scope: Scope, policy: SocketPolicy) -> None:
    """Hold the origin to the policy, after ``check_host()``.

    Raises:
        HandshakeRejected: 403 for an origin that is not allowed, and for none where the policy requires one.
    """
    origin = _request_origin(scope)
    if origin is None and policy.require_origin:
        raise HandshakeRejected(403, "This endpoint is for pages of a browser: the request has no Origin header.")
    if not _is_allowed(origin, scope, policy):
        raise HandshakeRejected(
            403,
            f"The origin {_shown(origin)} is not allowed at {_address(scope)}: scheme, host and port count. "
            "Add its host to DJANGO_ALLOWED_HOSTS, or the origin to the endpoint's SocketPolicy.allowed_origins.",
        )


def check_same_origin(scope: Scope) -> None:
    """Hold the request to its own host: the check for a consumer that states no policy.

    Such a consumer may authenticate by the session cookie, which a browser sends from any site. So a cookie without an
    ``Origin`` is refused too. A test's scope without a ``Host`` passes.
    """
    origin = _request_origin(scope)
    if _request_host(scope) is None:
        return
    cookies = (parse_cookie(line) for line in header_values(scope["headers"], b"cookie"))
    if origin is None and any(settings.SESSION_COOKIE_NAME in cookie for cookie in cookies):
        raise HandshakeRejected(403, "The request has a session cookie but no Origin header.")
    if origin is not None and not _matches_host(origin, scope):
        raise HandshakeRejected(
            403,
            f"The origin {_shown(origin)} is not {_address(scope)}, and the endpoint states no policy that allows it "
            "(SocketPolicy.allowed_origins of a PolicyConsumer).",
        )


def is_same_origin(scope: Scope) -> bool:
    """Return whether a page of the request's own scheme, host and port sent it, as its ``Origin`` says."""
    origin = _request_origin(scope)
    return origin is not None and _matches_host(origin, scope)


def _request_origin(scope: Scope) -> str | None:
    origins = header_values(scope["headers"], b"origin")
    if len(origins) > 1:  # RFC 6454, 7.3
        raise HandshakeRejected(403, "The request has more than one Origin header.")
    return origins[0] if origins else None


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
    site = _parse(_address(scope))
    return site is not None and _parse(origin) == site


def _matches_allowed_host(origin: str, scope: Scope) -> bool:
    """Return whether an origin is one of ``ALLOWED_HOSTS``, by the scheme and on the port of the request."""
    parsed, site = _parse(origin), _parse(_address(scope))
    if parsed is None or (site is not None and (parsed.scheme, parsed.port) != (site.scheme, site.port)):
        return False
    # "*" lets any Host header in; it is no statement about which other sites may connect.
    named_hosts = [host for host in _allowed_hosts() if host != "*"]
    return validate_host(f"[{parsed.host}]" if ":" in parsed.host else parsed.host, named_hosts)


def _matches_pattern(origin: str, pattern: str) -> bool:
    if pattern == "*":
        return True
    parsed, wanted = _parse(origin), _parse(pattern)
    if parsed is None or wanted is None or (parsed.scheme, parsed.port) != (wanted.scheme, wanted.port):
        return False
    if wanted.host.startswith("*."):
        return parsed.host.endswith(wanted.host[1:])
    return parsed.host == wanted.host


def _allowed_hosts() -> list[str]:
    return DEVELOPMENT_HOSTS if settings.DEBUG and not settings.ALLOWED_HOSTS else settings.ALLOWED_HOSTS


def _request_host(scope: Scope) -> str | None:
    """Return the requested host, as ``HttpRequest.get_host()`` finds it; None without the header."""
    forwarded = header_values(scope["headers"], b"x-forwarded-host") if settings.USE_X_FORWARDED_HOST else []
    return ",".join(forwarded or header_values(scope["headers"], b"host")) or None


def _scheme(scope: Scope) -> str:
    """Return ``http`` or ``https``, as ``HttpRequest.scheme`` finds it."""
    if settings.SECURE_PROXY_SSL_HEADER:
        name, secure = settings.SECURE_PROXY_SSL_HEADER
        header = name.removeprefix("HTTP_").replace("_", "-").lower().encode()
        for value in header_values(scope["headers"], header):
            return "https" if value.split(",")[0].strip() == secure else "http"
    return "https" if scope.get("scheme") in ("wss", "https") else "http"


def _address(scope: Scope) -> str:
    return f"{_scheme(scope)}://{_request_host(scope) or ''}"


def _shown(origin: str | None) -> str:
    return "None (no Origin header)" if origin is None else repr(origin[:200])


class _Origin(NamedTuple):
    scheme: str
    host: str
    port: int | None


def _parse(origin: str) -> _Origin | None:
    """Return the parts of an origin; None for ``null`` and whatever else has no host."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.username is not None:
        return None
    return _Origin(parts.scheme, parts.hostname, port or DEFAULT_PORTS.get(parts.scheme))
