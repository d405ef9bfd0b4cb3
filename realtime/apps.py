"""The Django app of the real-time endpoints."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["RealtimeConfig"]


class RealtimeConfig(AppConfig):
    """Registers the system checks."""

    name = "realtime"
    verbose_name = "Real time"
    default_auto_field = "django.db.models.BigAutoField"
