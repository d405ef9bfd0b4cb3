"""What the live page of the admin shows, and the messages in which it is told."""

from __future__ import annotations

import datetime
from typing import Annotated, Any

from django.contrib.auth import get_user_model
from django.db.models import Count, QuerySet, Sum
from django.utils import timezone
from msgspec import Meta, Struct

from realtime.engine.connections.models import LiveConnection, Process
from realtime.engine.monitoring.counters import all_traffic
from realtime.rooms.models import Room

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
    """What staff may ask for."""


class Disconnect(Command, tag="Disconnect", frozen=True):
    """End a connection with 3003."""

    channel: Annotated[str, Meta(max_length=120, examples=["process.1!42"])]


class Announce(Command, tag="Announce", frozen=True):
    """Post a message to a room."""

    room: str
    content: str


MonitorCommand = Disconnect | Announce


class Event(Struct, tag_field="type", kw_only=True, frozen=True):
    """What the server tells."""


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
    """What was asked for has happened."""

    detail: str


class Refused(Event, tag="Refused", frozen=True):
    """What was asked for has not happened."""

    detail: str


MonitorEvent = Overview | Done | Refused


def overview() -> Overview:
    """Return what there is now. Synchronous; six queries, whatever there is."""
    now = timezone.now()
    alive = Process.objects.filter(expires_at__gt=now)
    connections = LiveConnection.objects.filter(process__in=alive.values("pk"))
    traffic = list(all_traffic())
    return Overview(
        at=now,
        processes=alive.count(),
        connections=connections.count(),
        users=connections.exclude(user=None).values("user").distinct().count(),
        stored=Room.objects.aggregate(total=Sum("last_seq"))["total"] or 0,
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
    rooms: Any = Room.objects.annotate(total=Count("attendances")).order_by("-total", "-last_seq")
    return [RoomNow(room.slug, room.total, room.last_seq) for room in rooms[:MAX_ROOMS]]


def _newest(connections: QuerySet[LiveConnection]) -> list[ConnectionNow]:
    name = f"user__{get_user_model().USERNAME_FIELD}"
    rows = connections.order_by("-pk").values("channel", "endpoint", name, "address", "since")
    return [
        ConnectionNow(row["channel"], row["endpoint"], row[name], row["address"], row["since"])
        for row in rows[:MAX_CONNECTIONS]
    ]
