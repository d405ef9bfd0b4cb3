"""Tokens in the HTTP API: those from before a revocation are refused, and cannot be renewed.

``settings.REST_FRAMEWORK`` and ``settings.SIMPLE_JWT`` name these classes. The module imports no view: REST framework
imports it while it defines its own.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError
from rest_framework_simplejwt.serializers import TokenRefreshSerializer, TokenVerifySerializer

from realtime.auth.revocation import is_revoked
from realtime.auth.tokens import MALFORMED, MALFORMED_CLAIMS, check_user_id

__all__ = ["RefreshSerializer", "TokenAuthentication", "VerifySerializer"]

VOID = "The token was issued before the user's password changed or all sessions were ended."


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
        """Return the user of a token.

        Raises:
            AuthenticationFailed: if there is no such active user, or the token is void.
        """
        check_user_id(validated_token)
        user = super().get_user(validated_token)
        if is_revoked(user.pk, float(validated_token.get("iat", 0))):
            raise AuthenticationFailed(VOID)
        return user


class RefreshSerializer(TokenRefreshSerializer):
    """simplejwt's renewal, which also refuses tokens from before a revocation."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        """Return a new access token.

        Raises:
            TokenError: if the refresh token is not valid, or void.
        """
        try:
            token = self.token_class(attrs["refresh"])
            check_user_id(token)
            if is_revoked(token.get("user_id"), float(token.get("iat", 0))):
                raise TokenError(VOID)
            return super().validate(attrs)
        except MALFORMED_CLAIMS:
            raise TokenError(MALFORMED) from None
        except ObjectDoesNotExist:
            raise TokenError("The token's user does not exist.") from None


class VerifySerializer(TokenVerifySerializer):
    """simplejwt's verification, for tokens with claims of any type."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        """Return nothing.

        Raises:
            TokenError: if the token is not valid.
        """
        try:
            return super().validate(attrs)
        except MALFORMED_CLAIMS:
            raise TokenError(MALFORMED) from None
