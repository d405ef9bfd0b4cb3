"""The Django app of the rooms."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["RoomsConfig"]


class RoomsConfig(AppConfig):
    """Connects the signals that tell connected members of a change, and the system checks."""

    name = "realtime.rooms"
    label = "rooms"
    verbose_name = "Rooms"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the signal handlers and register the checks."""
        from realtime.rooms import checks, signals  # noqa: F401  models are loaded only now
