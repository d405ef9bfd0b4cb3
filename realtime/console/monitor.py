"""What the live page of the admin shows, its messages, and what it does with rooms.

The rooms are an app that a project may have removed.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models import Count, Sum
from django.utils import timezone
from msgspec import Meta, Struct

from realtime.engine.connections.models import LiveConnection, Process
from realtime.engine.monitoring.counters import all_traffic

HAS_ROOMS = apps.is_installed("realtime.rooms")
if HAS_ROOMS:
    from realtime.rooms.models import Room
    from realtime.rooms.permissions import Refusal
    from realtime.rooms.services import post_message

#: What a user of the staff needs to see the page: it shows names and addresses.
VIEW_PERMISSION = "connections.view_liveconnection"

#: Rows that one screen shows.
MAX_CONNECTIONS = 50
MAX_ROOMS = 20


class EndpointNow(Struct, frozen=True):
    """A path and how many connections it has."""

    path: str
    connections: int


class RoomNow(Struct, frozen=True):
    """A room, how many connections are in it, and how many messages it has."""

    room: str
    connections: int
    messages: int


class ConnectionNow(Struct, frozen=True):
    """One connection."""

    channel: Annotated[str, Meta(examples=["process.1!42"])]
    endpoint: str
    user: str | None
    address: str
    since: datetime.datetime


class Tagged(Struct, tag=True, frozen=True):
    """A message in either direction, tagged by the name of its class."""


class Disconnect(Tagged, frozen=True):
    """End a connection with 3003."""

    channel: Annotated[str, Meta(max_length=120, examples=["process.1!42"])]


class Announce(Tagged, frozen=True):
    """Post a message to a room."""

    room: str
    content: str


MonitorCommand = Disconnect | Announce


class Overview(Tagged, frozen=True):
    """The state of all processes. ``sent`` and ``received`` count the messages of the process that answers."""

    at: datetime.datetime
    processes: int
    connections: int
    users: int
    stored: int
    received: int
    sent: int
    endpoints: list[EndpointNow]
    rooms: list[RoomNow]
    newest: list[ConnectionNow]


class Done(Tagged, frozen=True):
    """A command succeeded."""

    detail: str


class Refused(Tagged, frozen=True):
    """A command failed."""

    detail: str


MonitorEvent = Overview | Done | Refused


def overview() -> Overview:
    """Return what there is now. Synchronous; at most six queries."""
    now = timezone.now()
    alive = Process.objects.filter(expires_at__gt=now)
    connections = LiveConnection.objects.filter(process__in=alive.values("pk")).order_by()
    by_endpoint = connections.values_list("endpoint").annotate(total=Count("pk")).order_by("-total", "endpoint")
    name = f"user__{get_user_model().USERNAME_FIELD}"
    newest = connections.order_by("-pk").values_list("channel", "endpoint", name, "address", "since")
    traffic = all_traffic()
    return Overview(
        at=now,
        processes=alive.count() or 1,  # this one has had no connection yet
        connections=connections.count(),
        users=connections.exclude(user=None).values("user").distinct().count(),
        stored=Room.objects.aggregate(total=Sum("last_seq"))["total"] or 0 if HAS_ROOMS else 0,
        received=sum(endpoint.messages_in for endpoint in traffic),
        sent=sum(endpoint.messages_out for endpoint in traffic),
        endpoints=[EndpointNow(*row) for row in by_endpoint[:MAX_ROOMS]],
        rooms=_rooms() if HAS_ROOMS else [],
        newest=[ConnectionNow(*row) for row in newest[:MAX_CONNECTIONS]],
    )


def _rooms() -> list[RoomNow]:
    rooms: Any = Room.objects.with_presence().order_by("-connections", "-last_seq")
    return [RoomNow(*row) for row in rooms.values_list("slug", "connections", "last_seq")[:MAX_ROOMS]]


def announce(user: Any, slug: str, content: str) -> Done | Refused:
    """Post a message to a room, with the permissions of the user. Synchronous.

    Args:
        user: the author.
        slug: the name of the room.
        content: the message.
    """
    if not user.has_perm("rooms.change_room"):
        return Refused("You may not announce anything.")
    room = Room.objects.filter(slug=slug).first() if HAS_ROOMS else None
    if room is None:
        return Refused("There is no room of this name.")
    outcome = post_message(room, user, content)
    if isinstance(outcome, Refusal):
        return Refused(outcome.detail)
    return Done("Announced.")
