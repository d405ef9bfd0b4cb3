"""The Django app of the real-time endpoints."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["RealtimeConfig"]


class RealtimeConfig(AppConfig):
    """Registers the system checks."""

    name = "realtime"
    verbose_name = "Real time"

    def ready(self) -> None:
        """Import what registers itself."""
        from realtime import checks  # noqa: F401
