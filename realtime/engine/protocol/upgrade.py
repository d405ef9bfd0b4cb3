"""What a request must carry to become a WebSocket (RFC 6455, 4.2.1)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from realtime.engine.policy import is_token

__all__ = ["UpgradeProblem", "offered_subprotocols", "upgrade_problem"]

#: The only version of the protocol that was ever standardised (RFC 6455, 4.1).
VERSION = b"13"

#: Decoded length in bytes of ``Sec-WebSocket-Key`` (RFC 6455, 4.1).
KEY_LENGTH = 16


@dataclass(frozen=True, slots=True)
class UpgradeProblem:
    """Why a request cannot be upgraded.

    Args:
        detail: which header is missing or wrong, and what it must be.
        headers: response headers that go with the answer.
    """

    detail: str
    headers: tuple[tuple[str, str], ...] = ()


def upgrade_problem(method: str, http_version: str, headers: Iterable[tuple[bytes, bytes]]) -> UpgradeProblem | None:
    """Return what keeps a request from being a WebSocket handshake, None when nothing does.

    Args:
        method: the HTTP method.
        http_version: ``"1.1"`` or another.
        headers: pairs of name (in lower case) and value, repeated names kept apart.
    """
    if method != "GET":
        return UpgradeProblem(f"A WebSocket handshake is a GET request, not {method[:16]}.")
    if http_version != "1.1":
        return UpgradeProblem(f"A WebSocket handshake needs HTTP/1.1, not HTTP/{http_version[:8]}.")
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value.strip())
    if "upgrade" not in _tokens(values.get(b"connection", ())):
        return UpgradeProblem("This is a WebSocket endpoint: the request has no 'Connection: Upgrade' header.")
    if "websocket" not in _tokens(values.get(b"upgrade", ())):
        return UpgradeProblem("This is a WebSocket endpoint: the request has no 'Upgrade: websocket' header.")
    if len(values.get(b"host", ())) != 1 or not values[b"host"][0]:
        return UpgradeProblem("The request needs exactly one 'Host' header.")
    if values.get(b"sec-websocket-version") != [VERSION]:
        return UpgradeProblem(
            "The request needs one 'Sec-WebSocket-Version: 13' header.",
            (("Sec-WebSocket-Version", VERSION.decode()),),
        )
    if not _is_key(values.get(b"sec-websocket-key", ())):
        return UpgradeProblem("The request needs one 'Sec-WebSocket-Key' header: 16 random bytes in base64.")
    return None


def offered_subprotocols(scope: Mapping[str, Any]) -> list[str]:
    """Return the subprotocols that a client offers, in its order.

    Several ``Sec-WebSocket-Protocol`` lines count as one list (RFC 9110, 5.3), empty items are skipped, and a name
    that is no token is no offer.

    Args:
        scope: its ``subprotocols`` count where it has some, else its ``headers``, whose names are in lower case.
    """
    offers = scope.get("subprotocols") or [
        item.strip(" \t")
        for name, value in scope["headers"]
        if name == b"sec-websocket-protocol"
        for item in value.decode("latin-1").split(",")
    ]
    return [offer for offer in offers if is_token(offer)]


def _tokens(values: Iterable[bytes]) -> set[str]:
    return {token.strip().lower() for value in values for token in value.decode("latin-1").split(",")}


def _is_key(values: Iterable[bytes]) -> bool:
    match list(values):
        case [key]:
            try:
                return len(base64.b64decode(key, validate=True)) == KEY_LENGTH
            except binascii.Error:
                return False
    return False
