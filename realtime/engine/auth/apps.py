"""The Django app of authentication."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AuthConfig(AppConfig):
    """Tokens, tickets, sessions and their revocation."""

    name = "realtime.engine.auth"
    label = "realtime_auth"
    verbose_name = _("Authentication of connections")
    default_auto_field = "django.db.models.BigAutoField"
