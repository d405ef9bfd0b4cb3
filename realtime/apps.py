"""The Django app of the real-time endpoints."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["RealtimeConfig"]


class RealtimeConfig(AppConfig):
    """Registers the system checks and installs the wire into Daphne."""

    name = "realtime"
    verbose_name = "Real time"

    def ready(self) -> None:
        """Import the checks, and give every Daphne server of this process the wire."""
        from django.conf import settings

        from realtime import checks  # noqa: F401
        from realtime.wire.daphne import install

        install(
            drain_seconds=settings.REALTIME_DRAIN_SECONDS,
            trusted_proxies=settings.REALTIME_TRUSTED_PROXIES,
        )
