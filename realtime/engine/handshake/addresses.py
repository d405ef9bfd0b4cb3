"""The address of a client, behind the reverse proxies that are trusted, and the network that limits count for."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest

__all__ = ["client_address", "limited_network", "network_of", "request_address", "trusted_hops"]


def client_address(scope: Mapping[str, Any]) -> str | None:
    """Return the address of the client of an ASGI scope; None for a UNIX socket without a trusted proxy."""
    client = scope.get("client")
    forwarded = (value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for")
    return _address(client[0] if client else None, forwarded)


def request_address(request: HttpRequest) -> str | None:
    """Return the address of the client of a Django request; None for a UNIX socket without a trusted proxy."""
    return _address(request.META.get("REMOTE_ADDR"), [request.META.get("HTTP_X_FORWARDED_FOR", "")])


def trusted_hops(forwarded: Iterable[str], proxies: int) -> list[str]:
    """Return the entries of ``X-Forwarded-For`` that trusted proxies have written.

    Each proxy appends the address that it saw: what stands further left was sent by the client.

    Args:
        forwarded: the values of the header.
        proxies: number of reverse proxies in front of the server.
    """
    hops = [hop.strip() for value in forwarded for hop in value.split(",") if hop.strip()]
    return hops[-proxies:] if proxies else []


def network_of(address: str) -> str:
    """Return an IPv4 address as it is, and the /64 of an IPv6 address: one customer has all of it."""
    parsed = _parse(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address if parsed is None else str(parsed)


def limited_network(address: str | None) -> str | None:
    """Return what limits on connections count for; None for a UNIX socket and for this machine itself.

    A connection from this machine is a developer's, or a reverse proxy's that was not declared by
    ``REALTIME_TRUSTED_PROXIES``: behind one, everybody would have the same address.
    """
    parsed = None if address is None else _parse(address)
    return None if parsed is None or parsed.is_loopback else network_of(str(parsed))


def _address(peer: str | None, forwarded: Iterable[str]) -> str | None:
    for hop in trusted_hops(forwarded, settings.REALTIME_TRUSTED_PROXIES)[:1]:
        parsed = _parse(hop)
        if parsed is not None:
            return str(parsed)
    return peer or None


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
