"""What the live page of the admin shows, its messages, and what it does with rooms.

The rooms are an app that a project may have removed. They are imported only where they are installed.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models import Count, QuerySet, Sum
from django.utils import timezone
from msgspec import Meta, Struct

from realtime.engine.connections.models import LiveConnection, Process
from realtime.engine.monitoring.counters import all_traffic

__all__ = [
    "Announce",
    "ConnectionNow",
    "Disconnect",
    "Done",
    "EndpointNow",
    "MonitorCommand",
    "MonitorEvent",
    "Overview",
    "Refused",
    "RoomNow",
    "announce",
    "announcement_length",
    "has_rooms",
    "overview",
]

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


class Command(Struct, tag_field="type", kw_only=True, frozen=True):
    """A message of staff."""


class Disconnect(Command, tag="Disconnect", frozen=True):
    """End a connection with 3003."""

    channel: Annotated[str, Meta(max_length=120, examples=["process.1!42"])]


class Announce(Command, tag="Announce", frozen=True):
    """Post a message to a room."""

    room: str
    content: str


MonitorCommand = Disconnect | Announce


class Event(Struct, tag_field="type", kw_only=True, frozen=True):
    """A message of the server."""


class Overview(Event, tag="Overview", frozen=True):
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


class Done(Event, tag="Done", frozen=True):
    """A command succeeded."""

    detail: str


class Refused(Event, tag="Refused", frozen=True):
    """A command failed."""

    detail: str


MonitorEvent = Overview | Done | Refused


def overview() -> Overview:
    """Return what there is now. Synchronous; at most six queries."""
    now = timezone.now()
    alive = Process.objects.filter(expires_at__gt=now)
    connections = LiveConnection.objects.filter(process__in=alive.values("pk"))
    traffic = list(all_traffic())
    return Overview(
        at=now,
        processes=alive.count(),
        connections=connections.count(),
        users=connections.exclude(user=None).values("user").distinct().count(),
        stored=_stored(),
        received=sum(endpoint.messages_in for endpoint in traffic),
        sent=sum(endpoint.messages_out for endpoint in traffic),
        endpoints=_endpoints(connections),
        rooms=_rooms(),
        newest=_newest(connections),
    )


def _endpoints(connections: QuerySet[LiveConnection]) -> list[EndpointNow]:
    rows = connections.order_by().values("endpoint").annotate(total=Count("pk")).order_by("-total", "endpoint")
    return [EndpointNow(row["endpoint"], row["total"]) for row in rows[:MAX_ROOMS]]


def _rooms() -> list[RoomNow]:
    if not has_rooms():
        return []
    from realtime.rooms.models import Room

    rooms: Any = Room.objects.annotate(total=Count("attendances")).order_by("-total", "-last_seq")
    return [RoomNow(room.slug, room.total, room.last_seq) for room in rooms[:MAX_ROOMS]]


def _newest(connections: QuerySet[LiveConnection]) -> list[ConnectionNow]:
    name = f"user__{get_user_model().USERNAME_FIELD}"
    rows = connections.order_by("-pk").values("channel", "endpoint", name, "address", "since")
    return [
        ConnectionNow(row["channel"], row["endpoint"], row[name], row["address"], row["since"])
        for row in rows[:MAX_CONNECTIONS]
    ]


def has_rooms() -> bool:
    """Return whether the rooms are installed."""
    return apps.is_installed("realtime.rooms")


def announcement_length() -> int:
    """Return how many characters an announcement may have; 0 without rooms."""
    if not has_rooms():
        return 0
    from realtime.rooms.limits import limits

    return limits().content_length


def _stored() -> int:
    if not has_rooms():
        return 0
    from realtime.rooms.models import Room

    return Room.objects.aggregate(total=Sum("last_seq"))["total"] or 0


def announce(user: Any, slug: str, content: str) -> Done | Refused:
    """Post a message to a room, with the permissions of the user. Synchronous.

    Args:
        user: the author.
        slug: the name of the room.
        content: the message.
    """
    if not has_rooms():
        return Refused(detail="This project has no rooms.")
    from realtime.rooms.models import Room
    from realtime.rooms.permissions import Refusal
    from realtime.rooms.services import post_message

    if not user.has_perm("rooms.change_room"):
        return Refused(detail="You may not announce anything.")
    room = Room.objects.filter(slug=slug).first()
    if room is None:
        return Refused(detail=f"There is no room {slug[:80]!r}.")
    outcome = post_message(room, user, content)
    if isinstance(outcome, Refusal):
        return Refused(detail=outcome.detail)
    return Done(detail=f"Announced in {room.slug} as message {outcome.seq}.")
