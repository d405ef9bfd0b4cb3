"""The identity of an anonymous user: the same for a browser, by a cookie that this site has signed.

It is a name and no right: do not let anything depend on it that an anonymous user may not do. The server stores
nothing for it.
"""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse, parse_cookie
from django.utils.crypto import salted_hmac

from realtime.engine.protocol.http import header_values

COOKIE_NAME = "anonymous"
#: From the last time that a page has renewed it.
LIFETIME = datetime.timedelta(days=90)

_SALT = "realtime.auth.anonymous"


class AnonymousCookie:
    """The cookie of a request; a new one where it has none that this site has signed.

    Args:
        request: of a page that connects to the site.

    Attributes:
        identity: 32 hexadecimal digits, the same that ``anonymous_identity()`` returns for a connection of the page.
            A hash under the site's key: nobody can choose it, and it does not lead back to the cookie.
    """

    def __init__(self, request: HttpRequest) -> None:
        self._value = _read(request.COOKIES.get(COOKIE_NAME, "")) or secrets.token_urlsafe(16)
        self.identity = _hash(self._value)

    def renew(self, response: HttpResponse) -> None:
        """Let the browser keep it for another ``LIFETIME``."""
        response.set_cookie(
            COOKIE_NAME,
            _signer().sign(self._value),
            max_age=LIFETIME,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )


def anonymous_identity(scope: Mapping[str, Any]) -> str | None:
    """Return the identity that the cookie of a handshake stands for; None without one that this site has signed."""
    cookies = parse_cookie("; ".join(header_values(scope["headers"], b"cookie")))
    value = _read(cookies.get(COOKIE_NAME, ""))
    return None if value is None else _hash(value)


def _read(cookie: str) -> str | None:
    try:
        return _signer().unsign(cookie, max_age=LIFETIME)
    except signing.BadSignature:
        return None


def _hash(value: str) -> str:
    return salted_hmac(_SALT, value, algorithm="sha256").hexdigest()[:32]


def _signer() -> signing.TimestampSigner:
    return signing.TimestampSigner(salt=_SALT)
