"""What ``manage.py check`` says about the settings of the rooms."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from realtime.rooms.access import CREATION
from realtime.rooms.limits import limits

__all__: list[str] = []


@checks.register("rooms")
def check_settings(**_: Any) -> list[checks.CheckMessage]:
    """Refuse settings that would otherwise fail, or be taken for their strictest value, at the first request."""
    problems: list[checks.CheckMessage] = []
    if settings.REALTIME_ROOM_CREATION not in CREATION:
        problems.append(
            checks.Error(
                f"REALTIME_ROOM_CREATION is {settings.REALTIME_ROOM_CREATION!r}, not one of {', '.join(CREATION)}.",
                hint="Nobody but staff can create a room until it is.",
                id="rooms.E001",
            )
        )
    try:
        limits()
    except ImproperlyConfigured as error:
        problems.append(checks.Error(str(error), id="rooms.E002"))
    return problems
