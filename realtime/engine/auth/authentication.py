"""Tokens that a revocation makes void: refused by the HTTP API and the handshake, not renewed, not verified.

``settings.REST_FRAMEWORK`` and ``settings.SIMPLE_JWT`` name these classes. The module imports no view: REST framework
imports it while it defines its own.
"""

from __future__ import annotations

from typing import Any

from django.db import DataError
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError
from rest_framework_simplejwt.serializers import (
    TokenObtainPairSerializer,
    TokenRefreshSerializer,
    TokenVerifySerializer,
)
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token, UntypedToken

from realtime.engine.auth.revocation import current_generation, is_revoked

__all__ = [
    "GENERATION",
    "MALFORMED",
    "MALFORMED_CLAIMS",
    "PairSerializer",
    "RefreshSerializer",
    "TokenAuthentication",
    "VerifySerializer",
    "VoidToken",
    "check_user_id",
]

#: The claim that says in which generation a token was issued (``realtime.engine.auth.revocation``).
GENERATION = "generation"

#: What is raised on the way from a signed token to its user when a claim is of a wrong type, like ``"exp": "soon"``.
MALFORMED_CLAIMS = (ValueError, TypeError, OverflowError, DataError)
MALFORMED = "The token's claims are malformed."

#: Larger integers are no primary key of any database that Django supports.
MAX_USER_ID = 2**63 - 1


class VoidToken(AuthenticationFailed):
    """A token from before a revocation."""

    default_detail = "The token was issued before the user's password changed or all sessions were ended."
    default_code = "token_void"


class TokenAuthentication(JWTAuthentication):
    """simplejwt's authentication, which also refuses tokens from before a revocation."""

    def authenticate(self, request: Any) -> Any:
        """Return user and token of a request, None where it has no token.

        Raises:
            AuthenticationFailed: if the token is not valid, or void.
        """
        try:
            return super().authenticate(request)
        except MALFORMED_CLAIMS:
            raise InvalidToken(MALFORMED) from None

    def get_user(self, validated_token: Any) -> Any:
        """Return the user of a token, and note in the token the generation in which it was found valid.

        Raises:
            AuthenticationFailed: if there is no such active user, or the token is void.
            ValueError: or another of ``MALFORMED_CLAIMS``, if a claim is of a wrong type.
        """
        check_user_id(validated_token)
        user = super().get_user(validated_token)
        current = current_generation(user.pk)
        issued_at = float(validated_token.get("iat", 0))
        if is_revoked(user.pk, generation=_generation_of(validated_token), issued_at=issued_at):
            raise VoidToken
        validated_token[GENERATION] = current
        return user


class PairSerializer(TokenObtainPairSerializer):
    """simplejwt's pair of tokens, which carry the user's generation."""

    @classmethod
    def get_token(cls, user: Any) -> Token:
        """Return a refresh token.

        Raises:
            AuthenticationFailed: if the password that was given has changed meanwhile.
        """
        token = super().get_token(user)
        token[GENERATION] = current_generation(user.pk)
        # Read after the generation: a password that changed in between would otherwise give tokens of the new one.
        if not type(user)._default_manager.filter(pk=user.pk, password=user.password, is_active=True).exists():
            raise AuthenticationFailed(cls.default_error_messages["no_active_account"], "no_active_account")
        return token


class RefreshSerializer(TokenRefreshSerializer):
    """simplejwt's renewal, which also refuses tokens from before a revocation."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        """Return a new access token, of the generation in which the refresh token was found valid.

        Raises:
            TokenError: if the refresh token is not valid.
            AuthenticationFailed: if it is void, or its user is not active.
        """
        try:
            token = self.token_class(attrs["refresh"])
            TokenAuthentication().get_user(token)
            return super().validate({**attrs, "refresh": str(token)})
        except MALFORMED_CLAIMS:
            raise TokenError(MALFORMED) from None


class VerifySerializer(TokenVerifySerializer):
    """simplejwt's verification, which also asks whether the token's user may still use it."""

    def validate(self, attrs: dict[str, Any]) -> dict[Any, Any]:
        """Return nothing.

        Raises:
            TokenError: if the token is not valid.
            AuthenticationFailed: if it is void, or its user is not active.
        """
        try:
            verified = super().validate(attrs)
            TokenAuthentication().get_user(UntypedToken(attrs["token"]))
        except MALFORMED_CLAIMS:
            raise TokenError(MALFORMED) from None
        return verified


def check_user_id(token: Any) -> None:
    """Look whether a token's user may be one of this site's.

    Raises:
        TypeError: if it is neither a string nor an integer.
        ValueError: if no database knows such a number.
    """
    user_id = token.get(api_settings.USER_ID_CLAIM)
    if isinstance(user_id, bool) or not isinstance(user_id, (int, str)):
        raise TypeError("user_id is neither a string nor an integer")
    if isinstance(user_id, int) and not 0 <= user_id <= MAX_USER_ID:
        raise ValueError("user_id is out of range")


def _generation_of(token: Any) -> int | None:
    generation = token.get(GENERATION)
    if generation is not None and (isinstance(generation, bool) or not isinstance(generation, int)):
        raise TypeError("the generation is not an integer")
    return generation
