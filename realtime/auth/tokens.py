"""JSON Web Tokens: an access token becomes an active user and a time of expiry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import DataError
from rest_framework.exceptions import APIException
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken

from realtime.auth.revocation import is_revoked
from realtime.database import in_handshake_thread
from realtime.errors import TokenRejected

__all__ = ["MALFORMED", "MALFORMED_CLAIMS", "VerifiedToken", "check_user_id", "verify_access_token"]

#: What is raised on the way from a signed token to its user when a claim is of a wrong type, like ``"exp": "soon"``.
MALFORMED_CLAIMS = (ValueError, TypeError, OverflowError, DataError)
MALFORMED = "The token's claims are malformed."

#: Longest token that is looked at, in characters; a token of this project is under 500.
MAX_TOKEN_LENGTH = 8192

#: Larger integers are no primary key of any database that Django supports.
MAX_USER_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a valid access token says.

    Args:
        user: the active user.
        expires_at: POSIX time in seconds at which the token stops being valid.
    """

    user: AbstractBaseUser
    expires_at: float = field(repr=False)


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
    return VerifiedToken(user, float(token["exp"]) + _leeway())


def _decode(raw: str) -> Any:
    try:
        token = AccessToken(raw)  # type: ignore[arg-type]
        check_user_id(token)
    except TokenError:
        raise TokenRejected("The token is not a valid access token, or it has expired.") from None
    except MALFORMED_CLAIMS:
        raise TokenRejected(MALFORMED) from None
    return token


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


def _active_user(token: Any) -> AbstractBaseUser:
    try:
        user = JWTAuthentication().get_user(token)
        # A token that does not say when it was issued (RFC 7519 leaves that open) is older than any revocation.
        is_void = is_revoked(user.pk, float(token.get("iat", 0)))
    except APIException:
        raise TokenRejected("The token's user does not exist, or is not active.") from None
    except MALFORMED_CLAIMS:
        raise TokenRejected(MALFORMED) from None
    if is_void:
        raise TokenRejected("The token was issued before the user's password changed or all sessions were ended.")
    return user


def _leeway() -> float:
    leeway = api_settings.LEEWAY
    return leeway.total_seconds() if hasattr(leeway, "total_seconds") else float(leeway)
