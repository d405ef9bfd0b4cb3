"""The Django app of the console."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["ConsoleConfig"]


class ConsoleConfig(AppConfig):
    """Shows and tries the endpoints."""

    name = "realtime.console"
    verbose_name = "Console"
