"""``/ws/auth``: an access token before the upgrade."""

from __future__ import annotations

from realtime.endpoints.echo import EchoConsumer
from realtime.engine import Authentication

__all__ = ["AuthenticatedConsumer"]


class AuthenticatedConsumer(EchoConsumer):
    """Asks for a valid access token before the upgrade, then echoes until the token expires."""

    authentication = Authentication.REQUIRED
