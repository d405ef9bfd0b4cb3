"""The address of a client behind trusted reverse proxies, and the network for which limits count."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from realtime.engine.protocol.http import header_values


def client_address(scope: Mapping[str, Any]) -> str | None:
    """Return the client's address in an ASGI scope; None for a UNIX socket without a trusted proxy."""
    client = scope.get("client")
    return _address(client[0] if client else None, header_values(scope["headers"], b"x-forwarded-for"))


def request_address(request: HttpRequest) -> str | None:
    """Return the client's address in a Django request; None for a UNIX socket without a trusted proxy."""
    return _address(request.META.get("REMOTE_ADDR"), [request.META.get("HTTP_X_FORWARDED_FOR", "")])


def network_of(address: str) -> str:
    """Return an IPv4 address as it is, and the /64 network of an IPv6 address, which belongs to one customer."""
    parsed = _parse(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address if parsed is None else str(parsed)


def limited_network(address: str | None) -> str | None:
    """Return the network for which limits on connections count; None for a UNIX socket and for this machine.

    A connection from this machine comes from a developer, or from a reverse proxy that ``REALTIME_TRUSTED_PROXIES``
    does not count. All clients of such a proxy would share its address.
    """
    parsed = None if address is None else _parse(address)
    return None if parsed is None or parsed.is_loopback else network_of(str(parsed))


def _address(peer: str | None, forwarded: Iterable[str]) -> str | None:
    """Return the address that the outermost trusted proxy has seen.

    Each proxy appends an address to ``X-Forwarded-For``. The entries further left were sent by the client.
    """
    hops = [hop.strip() for value in forwarded for hop in value.split(",") if hop.strip()]
    proxies = settings.REALTIME_TRUSTED_PROXIES
    parsed = _parse(hops[-proxies:][0]) if proxies and hops else None
    return peer or None if parsed is None else str(parsed)


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an address, also ``203.0.113.7:4711`` and ``[2001:db8::1]:4711``, as some proxies write them."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A server that listens on IPv6 sees IPv4 clients as ::ffff:203.0.113.7.
    return getattr(address, "ipv4_mapped", None) or address
