"""One-time tickets: what a browser puts in the query string instead of a token.

A browser cannot set headers on a WebSocket handshake. A ticket is encrypted, bound to its user, valid for thirty
seconds and redeemed once: only the first process that adds its nonce to the shared cache accepts it. A ticket in a log
is worthless by then. It opens nothing after a revocation, and a session's ticket nothing after the session.
"""

from __future__ import annotations

import base64
import secrets

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.utils.crypto import salted_hmac

from realtime.engine.auth.revocation import current_generation
from realtime.engine.auth.sessions import Identity, LoginSession, ended_sessions
from realtime.engine.protocol.errors import TokenRejected

__all__ = ["LIFETIME", "issue_ticket", "redeem_ticket"]

#: Seconds within which a ticket must be used.
LIFETIME = 30

_SALT = "realtime.auth.tickets"
_CACHE_PREFIX = "realtime:ticket:"


#: User, expiry, generation and session of an identity, and a nonce.
_Fields = tuple[str, float | None, int, LoginSession | None, str]


def issue_ticket(identity: Identity) -> str:
    """Return a new ticket, which gives a connection this identity. Synchronous."""
    nonce = secrets.token_urlsafe(16)
    fields = (str(identity.user.pk), identity.expires_at, identity.generation, identity.session, nonce)
    # Encrypted, not only signed: a ticket stands in addresses, and a session's key opens the session.
    return _fernet().encrypt(msgspec.msgpack.encode(fields)).decode()


def redeem_ticket(raw: str) -> Identity:
    """Use up a ticket, and return its identity. Synchronous.

    Args:
        raw: the value of ``?ticket=``.

    Raises:
        TokenRejected: for a ticket that is forged, expired, used before or void, or whose user is not active.
    """
    try:
        base64.b64decode(raw, b"-_", validate=True)  # Fernet ignores what does not belong there
        fields = msgspec.msgpack.decode(_fernet().decrypt(raw, ttl=LIFETIME), type=_Fields)
    except (InvalidToken, ValueError, msgspec.MsgspecError):  # forged, expired, or of another version of this project
        raise TokenRejected("The ticket is not valid, or it has expired; get a new one.") from None
    user_id, expires_at, generation, session, nonce = fields
    # add() sets a key only where there is none, in one step: of two processes one gets True.
    # Kept for longer than the ticket lives, for clocks that differ.
    if not cache.add(_CACHE_PREFIX + nonce, 1, timeout=4 * LIFETIME):
        raise TokenRejected("The ticket was used before; a ticket works once.")
    user = get_user_model()._default_manager.filter(pk=user_id).first()
    if user is None or not user.is_active:
        raise TokenRejected("The ticket's user does not exist, or is not active.")
    if current_generation(user.pk) > generation:
        raise TokenRejected("The ticket was issued before the user's password changed or all sessions were ended.")
    if session is not None and ended_sessions({session: user}):
        raise TokenRejected("The session that the ticket was issued for has ended.")
    return Identity(user, expires_at, generation, session)


def _fernet() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    derived = [salted_hmac(_SALT, "", secret=key, algorithm="sha256").digest() for key in keys]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in derived])
