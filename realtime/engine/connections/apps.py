"""The Django app of the live connections."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["ConnectionsConfig"]


class ConnectionsConfig(AppConfig):
    """Processes, their leases and their connections."""

    name = "realtime.engine.connections"
    label = "connections"
    verbose_name = "Live connections"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the signal handlers."""
        from realtime.engine.auth import signals  # noqa: F401  models are loaded only now
