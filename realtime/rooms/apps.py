"""The Django app of the rooms, and what ``manage.py check`` says about its settings."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from realtime.rooms.limits import ROOM_CREATION, limits


class RoomsConfig(AppConfig):
    """Registers the system checks, and publishes changes of rooms to the connected members."""

    name = "realtime.rooms"
    verbose_name = _("Rooms")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the signal, and register the checks."""
        from realtime.rooms.models import room_changed  # models are loaded only now
        from realtime.rooms.services import recheck_room

        room_changed.connect(recheck_room, dispatch_uid="realtime.rooms.services")
        checks.register(check_settings, "rooms")

    def create_demo_data(self) -> None:
        """Create the lobby. Anonymous users may write there, so that a newcomer can try it at once."""
        from realtime.rooms.models import Room

        Room.objects.get_or_create(slug="lobby", defaults={"title": "Lobby", "anonymous_may_post": True})


def check_settings(**_: Any) -> list[checks.CheckMessage]:
    """Refuse settings that would otherwise fail, or count as their strictest value, at the first request."""
    problems: list[checks.CheckMessage] = []
    creation = settings.REALTIME_ROOM_CREATION
    if creation not in ROOM_CREATION:
        problems.append(
            checks.Error(
                f"REALTIME_ROOM_CREATION is {creation!r}, not one of {', '.join(ROOM_CREATION)}.",
                hint="Only staff can create a room until it is.",
                id="rooms.E001",
            )
        )
    try:
        limits()
    except ImproperlyConfigured as error:
        problems.append(checks.Error(str(error), id="rooms.E002"))
    return problems
