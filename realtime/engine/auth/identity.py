"""Finds the user of a handshake: bearer token, then ticket, then the session of a same-origin page."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.http import parse_cookie

from realtime.engine.auth.authentication import verify_access_token
from realtime.engine.auth.revocation import current_generation
from realtime.engine.auth.sessions import LoginSession, ended_sessions, open_session
from realtime.engine.auth.throttling import check_failures, count_failure
from realtime.engine.auth.tickets import redeem_ticket
from realtime.engine.handshake.origin import is_same_origin
from realtime.engine.protocol.errors import HandshakeRejected, TokenRejected
from realtime.engine.protocol.http import header_values
from realtime.engine.services.database import in_handshake_thread

__all__ = ["Authentication", "Identity", "identify"]

#: What a client is told to send (RFC 6750, 3).
CHALLENGE = 'Bearer realm="websocket"'

NO_CREDENTIAL = (
    "This endpoint needs an access token: send 'Authorization: Bearer <token>' (POST /api/token/ gives one), "
    "or a one-time '?ticket=' from POST /api/ws-ticket/."
)


class Authentication(enum.StrEnum):
    """Whether an endpoint asks who its client is."""

    NONE = "none"
    """Nobody is looked up; the user is anonymous."""
    OPTIONAL = "optional"
    """A credential is checked where there is one; without one the user is anonymous."""
    REQUIRED = "required"
    """Without a valid credential the handshake ends with 401."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The user of a connection."""

    user: AbstractBaseUser | AnonymousUser
    expires_at: float | None = field(default=None, repr=False)
    """POSIX time at which the connection is closed with 3000; None for never."""
    generation: int = 0
    """How often everything of the user had been revoked when the credential was checked."""
    session: LoginSession | None = None
    """The login session that the connection ends with; None for a token."""


async def identify(scope: Mapping[str, Any], authentication: Authentication) -> Identity:
    """Return the user of a handshake.

    Args:
        scope: the ASGI scope.
        authentication: what the endpoint asks for.

    Raises:
        HandshakeRejected: 401 for a credential that is not valid, and for none where one is required;
            429 after too many of the former.
    """
    if authentication is Authentication.NONE:
        return Identity(AnonymousUser())
    try:
        identity = await _from_credentials(scope)
    except TokenRejected as rejection:
        await count_failure(scope)
        headers = [("WWW-Authenticate", CHALLENGE + ', error="invalid_token"')]
        raise HandshakeRejected(401, rejection.detail, headers=headers) from None
    if identity is None and authentication is Authentication.REQUIRED:
        raise HandshakeRejected(401, NO_CREDENTIAL, headers=[("WWW-Authenticate", CHALLENGE)])
    return identity or Identity(AnonymousUser())


async def _from_credentials(scope: Mapping[str, Any]) -> Identity | None:
    token = _bearer_token(scope)
    if token is None and settings.REALTIME_TOKEN_IN_QUERY:
        token = _query_parameter(scope, "token")
    ticket = _query_parameter(scope, "ticket")
    if token or ticket:
        await check_failures(scope)
    if token:
        verified = await verify_access_token(token)
        return Identity(verified.user, verified.expires_at, verified.generation)
    if ticket:
        return await in_handshake_thread(_identity_of_ticket)(ticket)
    return await _identity_of_session(scope)


def _bearer_token(scope: Mapping[str, Any]) -> str | None:
    """Return the token of ``Authorization: Bearer`` (RFC 6750, 2.1), None for another scheme."""
    values = header_values(scope["headers"], b"authorization")
    if len(values) > 1:
        raise TokenRejected("The request has more than one Authorization header.")
    if not values:
        return None
    scheme, _, token = values[0].partition(" ")
    if scheme.lower() != "bearer":
        return None
    if not token.strip():
        raise TokenRejected("The Authorization header has no token after 'Bearer'.")
    return token.strip()


def _query_parameter(scope: Mapping[str, Any], name: str) -> str | None:
    values = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get(name)
    if values is None:
        return None
    if len(values) > 1 or not values[0]:
        raise TokenRejected(f"The query parameter {name!r} must be given once, with a value.")
    return values[0]


def _identity_of_ticket(raw: str) -> Identity:
    ticket = redeem_ticket(raw)
    user = get_user_model()._default_manager.filter(pk=ticket.user_id).first()
    if user is None or not user.is_active:
        raise TokenRejected("The ticket's user does not exist, or is not active.")
    if current_generation(user.pk) > ticket.generation:
        raise TokenRejected("The ticket was issued before the user's password changed or all sessions were ended.")
    if ticket.session is not None and ended_sessions({ticket.session: user}):
        raise TokenRejected("The session that the ticket was issued for has ended.")
    return Identity(user, ticket.expires_at, ticket.generation, ticket.session)


async def _identity_of_session(scope: Mapping[str, Any]) -> Identity | None:
    """Return the user of the session cookie, for a page of this very origin only.

    A browser sends cookies with a handshake from any site. Only the Origin header tells ours from
    another (cross-site WebSocket hijacking), so without it the cookie counts for nothing.
    """
    session_key = _session_key(scope)
    if session_key is None or not is_same_origin(scope):
        return None
    return await in_handshake_thread(_identity_of_cookie)(session_key)


def _identity_of_cookie(cookie: str) -> Identity | None:
    user, session = open_session(cookie) or (None, None)
    return None if user is None else Identity(user, generation=current_generation(user.pk), session=session)


def _session_key(scope: Mapping[str, Any]) -> str | None:
    key = parse_cookie("; ".join(header_values(scope["headers"], b"cookie"))).get(settings.SESSION_COOKIE_NAME)
    # No session has a key with U+0000, which PostgreSQL cannot even look for.
    return None if key is None or "\0" in key else key
