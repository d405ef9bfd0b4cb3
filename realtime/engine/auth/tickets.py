"""One-time tickets: what a browser puts in the query string instead of a token.

A browser cannot set headers on a WebSocket handshake. A ticket is encrypted, bound to its user, valid for thirty
seconds and redeemed once: only the first process that adds its nonce to the shared cache accepts it. A ticket in a log
is worthless by then. It opens nothing after a revocation, and a session's ticket nothing after the session.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.cache import cache
from django.utils.crypto import salted_hmac

from realtime.engine.auth.revocation import current_generation
from realtime.engine.auth.sessions import LoginSession
from realtime.engine.protocol.errors import TokenRejected

__all__ = ["LIFETIME", "Ticket", "issue_ticket", "redeem_ticket"]

#: Seconds within which a ticket must be used.
LIFETIME = 30

_SALT = "realtime.auth.tickets"
_CACHE_PREFIX = "realtime:ticket:"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket says; its fields are the arguments of ``issue_ticket()``."""

    user_id: str
    expires_at: float | None = field(repr=False)
    generation: int
    session: LoginSession | None
    nonce: str = field(repr=False)


def issue_ticket(
    user_id: object,
    expires_at: float | None = None,
    *,
    generation: int | None = None,
    session: LoginSession | None = None,
) -> str:
    """Return a new ticket. Synchronous.

    Args:
        user_id: primary key of the user.
        expires_at: POSIX time at which the connection is to be closed with 3000, if any.
        generation: that of the token behind the ticket; None reads the user's from the database.
        session: the session that the connection is to end with, if any.
    """
    if generation is None:
        generation = current_generation(user_id)
    ticket = Ticket(str(user_id), expires_at, generation, session, secrets.token_urlsafe(16))
    # Encrypted, not only signed: a ticket stands in addresses, and a session's key opens the session.
    return _fernet().encrypt(msgspec.msgpack.encode(ticket)).decode()


def redeem_ticket(raw: str) -> Ticket:
    """Use up a ticket. The caller checks whether it is void. Synchronous: one round trip to the cache.

    Args:
        raw: the value of ``?ticket=``.

    Raises:
        TokenRejected: for a ticket that is forged, expired or used before.
    """
    try:
        base64.b64decode(raw, b"-_", validate=True)  # Fernet ignores what does not belong there
        ticket = msgspec.msgpack.decode(_fernet().decrypt(raw, ttl=LIFETIME), type=Ticket)
    except (InvalidToken, ValueError, msgspec.MsgspecError):  # forged, expired, or of another version of this project
        raise TokenRejected("The ticket is not valid, or it has expired; get a new one.") from None
    # add() sets a key only where there is none, in one step: of two processes one gets True.
    # Kept for longer than the ticket lives, for clocks that differ.
    if not cache.add(_CACHE_PREFIX + ticket.nonce, 1, timeout=4 * LIFETIME):
        raise TokenRejected("The ticket was used before; a ticket works once.")
    return ticket


def _fernet() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    derived = [salted_hmac(_SALT, "", secret=key, algorithm="sha256").digest() for key in keys]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in derived])
