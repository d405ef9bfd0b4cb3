"""The Django app of the topics, and what ``manage.py check`` says about their limits."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from realtime.engine.topics.limits import limits


class TopicsConfig(AppConfig):
    """Presence, and the messages of ``DatabaseStore``."""

    name = "realtime.engine.topics"
    label = "realtime_topics"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the check."""
        checks.register(check_limits, "realtime")


def check_limits(**_: Any) -> list[checks.CheckMessage]:
    """Refuse limits that would fail at the first message."""
    try:
        limits()
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id="realtime.E004")]
    return []
