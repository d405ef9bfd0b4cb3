"""``/ws/auth``: an access token before the upgrade."""

from __future__ import annotations

from realtime.auth import Authentication
from realtime.endpoints.echo import EchoConsumer

__all__ = ["AuthenticatedConsumer"]


class AuthenticatedConsumer(EchoConsumer):
    """Asks for a valid access token before the upgrade, then echoes until the token expires."""

    authentication = Authentication.REQUIRED
