"""Access tokens of simplejwt, which a revocation makes void, for the HTTP API and for the handshake.

``settings.REST_FRAMEWORK`` names ``TokenAuthentication``. The module imports no view: REST framework imports it while
it defines its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import DataError
from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, Token

from realtime.engine.auth.revocation import find_revocation
from realtime.engine.protocol.errors import TokenRejected
from realtime.engine.services.database import in_handshake_thread

__all__ = ["GENERATION", "TokenAuthentication", "VerifiedToken", "VoidToken", "authenticate", "verify_access_token"]

#: The claim that says in which generation a token was issued (``realtime.engine.auth.revocation``).
GENERATION = "generation"

#: What simplejwt and Django raise for a claim of a wrong type, such as ``"exp": []``.
MALFORMED_CLAIMS = (ValueError, TypeError, OverflowError, DataError)


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


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A valid access token of an active user."""

    user: AbstractBaseUser
    expires_at: float = field(repr=False)
    """POSIX time in seconds at which the token stops being valid."""
    generation: int
    """The user's generation when the token was found valid."""


async def verify_access_token(raw: str) -> VerifiedToken:
    """Check signature, algorithm, issuer, times, type and user of an access token.

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
    leeway = api_settings.LEEWAY
    seconds = leeway.total_seconds() if hasattr(leeway, "total_seconds") else float(leeway)
    return VerifiedToken(user, float(token["exp"]) + seconds, token[GENERATION])
