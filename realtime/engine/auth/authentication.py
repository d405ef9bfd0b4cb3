"""Finds the user of a handshake: bearer token, then ticket, then the session of a same-origin page.

Tokens are simplejwt's, and a revocation makes them void, also for the HTTP API: ``settings.REST_FRAMEWORK`` names
``TokenAuthentication``. REST framework imports the module while it defines its views, so it imports none of them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import DataError
from django.http import parse_cookie
from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, Token

from realtime.engine.auth.revocation import find_revocation
from realtime.engine.auth.sessions import Identity, open_session
from realtime.engine.auth.throttling import check_failures, count_failure
from realtime.engine.auth.tickets import redeem_ticket
from realtime.engine.handshake.origin import is_same_origin
from realtime.engine.protocol.errors import HandshakeRejected, TokenRejected
from realtime.engine.protocol.http import header_values
from realtime.engine.services.database import in_handshake_thread

__all__ = [
    "GENERATION",
    "Authentication",
    "TokenAuthentication",
    "VoidToken",
    "authenticate",
    "identify",
    "verify_access_token",
]

#: The claim that says in which generation a token was issued (``realtime.engine.auth.revocation``).
GENERATION = "generation"

#: What simplejwt and Django raise for a claim of a wrong type, such as ``"exp": []``.
MALFORMED_CLAIMS = (ValueError, TypeError, OverflowError, DataError)

#: ``WWW-Authenticate`` of a 401: what a client has to send (RFC 6750, 3).
CHALLENGE = 'Bearer realm="websocket"'

NO_CREDENTIAL = (
    "This endpoint needs an access token: send 'Authorization: Bearer <token>' (POST /api/token/ gives one), "
    "or a one-time '?ticket=' from POST /api/ws-ticket/."
)


class VoidToken(AuthenticationFailed):
    """A token from before a revocation."""

    default_detail = "The token was issued before the user's password changed or all sessions were ended."
    default_code = "token_void"


class TokenAuthentication(JWTAuthentication):
    """simplejwt's authentication, which also refuses tokens from before a revocation."""

    def get_validated_token(self, raw_token: Any) -> Token:
        """Return a token whose signature and times are valid; raise ``InvalidToken`` for any other."""
        try:
            return super().get_validated_token(raw_token)
        except MALFORMED_CLAIMS:
            raise InvalidToken from None

    def get_user(self, validated_token: Any) -> Any:
        """Return the user of a token, and store the user's current generation in the token.

        Raises:
            AuthenticationFailed: if a claim is malformed, there is no such active user, or the token is void.
        """
        user_id, generation = validated_token.get(api_settings.USER_ID_CLAIM), validated_token.get(GENERATION)
        # Python takes True and 1.0 for 1, and so would the database.
        if type(user_id) not in (int, str) or type(generation) not in (int, type(None)):
            raise InvalidToken
        try:
            user = super().get_user(validated_token)
            issued_at = float(validated_token.get("iat", 0))
        except MALFORMED_CLAIMS:
            raise InvalidToken from None
        revocation = find_revocation(user.pk)
        if revocation is not None and revocation.voids(generation, issued_at):
            raise VoidToken
        validated_token[GENERATION] = 0 if revocation is None else revocation.generation
        return user


class TokenAuthenticationScheme(SimpleJWTScheme):
    """Describes ``TokenAuthentication`` in the API schema (RFC 6750)."""

    target_class = "realtime.engine.auth.authentication.TokenAuthentication"


def authenticate(raw: str, token_class: type[Token]) -> tuple[Any, Any]:
    """Return a token, of the compact form of RFC 7519, and its active user. Synchronous.

    Raises:
        AuthenticationFailed: if it is not valid or void, or its user is not active.
    """
    try:
        token = token_class(raw)  # type: ignore[arg-type]  # simplejwt's annotation lacks str
    except (TokenError, *MALFORMED_CLAIMS):
        raise InvalidToken from None
    return token, TokenAuthentication().get_user(token)


async def verify_access_token(raw: str) -> Identity:
    """Check signature, algorithm, issuer, times, type and user of an access token; return its user and expiry.

    Raises:
        TokenRejected: for anything but a valid access token of an active user.
    """
    try:
        token, user = await in_handshake_thread(authenticate)(raw, AccessToken)
    except VoidToken as void:
        raise TokenRejected(str(void.detail)) from None
    except InvalidToken:
        raise TokenRejected("The token is not a valid access token, or it has expired.") from None
    except APIException:
        raise TokenRejected("The token's user does not exist, or is not active.") from None
    leeway = token.get_token_backend().get_leeway()
    return Identity(user, token["exp"] + leeway.total_seconds(), token[GENERATION])


class Authentication(enum.StrEnum):
    """Whether an endpoint asks who its client is."""

    NONE = "none"
    """Nobody is looked up; the user is anonymous."""
    OPTIONAL = "optional"
    """A credential is checked where there is one; without one the user is anonymous."""
    REQUIRED = "required"
    """Without a valid credential the handshake ends with 401."""


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
        return await verify_access_token(token)
    if ticket:
        return await in_handshake_thread(redeem_ticket)(ticket)
    session_key = _session_key(scope)
    return None if session_key is None else await in_handshake_thread(open_session)(session_key)


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


def _session_key(scope: Mapping[str, Any]) -> str | None:
    """Return the session cookie, for a page of this very origin only.

    A browser sends cookies with a handshake from any site. Only the Origin header distinguishes ours from
    another (cross-site WebSocket hijacking), so without it the cookie counts for nothing.
    """
    key = parse_cookie("; ".join(header_values(scope["headers"], b"cookie"))).get(settings.SESSION_COOKIE_NAME)
    # No session has a key with U+0000, which PostgreSQL cannot even look for.
    return None if key is None or "\0" in key or not is_same_origin(scope) else key
