"""Serializers of tokens and tickets; ``settings.SIMPLE_JWT`` names those of tokens."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.serializers import (
    TokenObtainPairSerializer,
    TokenRefreshSerializer,
    TokenVerifySerializer,
)
from rest_framework_simplejwt.tokens import Token, UntypedToken

from realtime.engine.auth.authentication import GENERATION, authenticate
from realtime.engine.auth.revocation import current_generation


class TicketSerializer(serializers.Serializer):
    """A ticket and the seconds within which it must be used."""

    ticket = serializers.CharField(read_only=True)
    expires_in = serializers.IntegerField(read_only=True)


class PairSerializer(TokenObtainPairSerializer):
    """simplejwt's pair of tokens, which carry the user's generation."""

    @classmethod
    def get_token(cls, user: Any) -> Token:
        """Return a refresh token.

        Raises:
            AuthenticationFailed: if the password has changed since it was checked.
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
        """Return a new access token, of the generation in which the refresh token was found valid."""
        token, _ = authenticate(attrs["refresh"], self.token_class)
        return super().validate({**attrs, "refresh": str(token)})


class VerifySerializer(TokenVerifySerializer):
    """simplejwt's verification, which also checks the token's user and generation."""

    def validate(self, attrs: dict[str, Any]) -> dict[Any, Any]:
        """Return nothing; raise ``AuthenticationFailed`` for a token that is not valid or void."""
        authenticate(attrs["token"], UntypedToken)
        return super().validate(attrs)
