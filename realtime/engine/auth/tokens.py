"""JSON Web Tokens: an access token becomes an active user and a time of expiry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from rest_framework.exceptions import APIException
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken

from realtime.engine.auth.revocable import (
    GENERATION,
    MALFORMED,
    MALFORMED_CLAIMS,
    TokenAuthentication,
    VoidToken,
    check_user_id,
)
from realtime.engine.database import in_handshake_thread
from realtime.engine.errors import TokenRejected

__all__ = ["VerifiedToken", "verify_access_token"]

#: Longest token that is looked at, in characters; a token of this project is under 500.
MAX_TOKEN_LENGTH = 8192


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a valid access token says.

    Args:
        user: the active user.
        expires_at: POSIX time in seconds at which the token stops being valid.
        generation: how often everything of the user had been revoked when the token was found valid.
    """

    user: AbstractBaseUser
    expires_at: float = field(repr=False)
    generation: int


async def verify_access_token(raw: str) -> VerifiedToken:
    """Check signature, algorithm, issuer, times, type and user of an access token.

    Args:
        raw: the encoded token (RFC 7519, compact form).

    Raises:
        TokenRejected: for anything but a valid access token of an active user.
    """
    if len(raw) > MAX_TOKEN_LENGTH:
        raise TokenRejected("The token is too long.")
    token = _decode(raw)
    user = await in_handshake_thread(_active_user)(token)
    return VerifiedToken(user, float(token["exp"]) + _leeway(), token[GENERATION])


def _decode(raw: str) -> Any:
    try:
        token = AccessToken(raw)  # type: ignore[arg-type]
        check_user_id(token)
    except TokenError:
        raise TokenRejected("The token is not a valid access token, or it has expired.") from None
    except MALFORMED_CLAIMS:
        raise TokenRejected(MALFORMED) from None
    return token


def _active_user(token: Any) -> AbstractBaseUser:
    try:
        return TokenAuthentication().get_user(token)
    except VoidToken as void:
        raise TokenRejected(str(void.detail)) from None
    except APIException:
        raise TokenRejected("The token's user does not exist, or is not active.") from None
    except MALFORMED_CLAIMS:
        raise TokenRejected(MALFORMED) from None


def _leeway() -> float:
    leeway = api_settings.LEEWAY
    return leeway.total_seconds() if hasattr(leeway, "total_seconds") else float(leeway)
