"""The Django app of authentication."""

from __future__ import annotations

from django.apps import AppConfig


class AuthConfig(AppConfig):
    """Tokens, tickets, sessions and their revocation."""

    name = "realtime.engine.auth"
    label = "realtime_auth"
    verbose_name = "Authentication of connections"
    default_auto_field = "django.db.models.BigAutoField"
