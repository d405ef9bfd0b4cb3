"""One-time tickets: what a browser puts in the query string instead of a token.

A browser cannot set headers on a WebSocket handshake. A ticket is signed, bound to its user, valid for thirty
seconds and redeemed once: only the first process that adds its nonce to the shared cache accepts it. A ticket in a log
is worthless by then. It opens nothing after a revocation, and a session's ticket nothing after the session.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from django.core import signing
from django.core.cache import cache

from realtime.engine.auth.revocation import current_generation
from realtime.engine.auth.sessions import LoginSession, seal, unseal
from realtime.engine.errors import TokenRejected

__all__ = ["LIFETIME", "Ticket", "issue_ticket", "redeem_ticket"]

#: Seconds within which a ticket must be used.
LIFETIME = 30

_SALT = "realtime.auth.tickets"
_CACHE_PREFIX = "realtime:ticket:"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A redeemed ticket.

    Args:
        user_id: primary key of the user, as a string.
        expires_at: POSIX time at which the token behind the ticket expires; None for a session.
        generation: how often everything of the user had been revoked when the ticket was issued.
        session: the session behind the ticket; None for a token.
    """

    user_id: str
    expires_at: float | None = field(repr=False)
    generation: int
    session: LoginSession | None = None


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
    sealed = None if session is None else seal(session)
    return signing.dumps([str(user_id), expires_at, generation, sealed, secrets.token_urlsafe(16)], salt=_SALT)


def redeem_ticket(raw: str) -> Ticket:
    """Use up a ticket. The caller checks whether it is void. Synchronous: one round trip to the cache.

    Args:
        raw: the value of ``?ticket=``.

    Raises:
        TokenRejected: for a ticket that is forged, expired or used before.
    """
    try:
        user_id, expires_at, generation, sealed, nonce = signing.loads(raw, salt=_SALT, max_age=LIFETIME)
    except signing.SignatureExpired:
        raise TokenRejected("The ticket has expired; get a new one.") from None
    except (signing.BadSignature, ValueError):  # forged, or issued by another version of this project
        raise TokenRejected("The ticket is not valid.") from None
    # add() sets a key only where there is none, in one step: of two processes one gets True.
    # Kept for longer than the ticket lives, for clocks that differ.
    if not cache.add(_CACHE_PREFIX + nonce, 1, timeout=4 * LIFETIME):
        raise TokenRejected("The ticket was used before; a ticket works once.")
    session = None if sealed is None else unseal(sealed)
    if sealed is not None and session is None:
        raise TokenRejected("The ticket is not valid.")
    return Ticket(user_id, expires_at, generation, session)
