"""Reads what a fan-out, a joining member or ``History`` needs. Synchronous; runs in a database thread.

A room's messages are committed in the order of their numbers, under the lock of its row. So a reader that sees
``last_seq`` sees every message up to it, and a number that is missing below belongs to a message that is hidden.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db.models import QuerySet

from realtime.rooms.limits import limits
from realtime.rooms.models import Room, RoomMessage
from realtime.rooms.permissions import Person, Standing, standing_from
from realtime.rooms.protocol import Chat, Position, encode

#: Messages that are read at once to fill a gap.
TAIL_PAGE = 500


class Entry(NamedTuple):
    """One message as a fan-out passes it on.

    Args:
        seq: its number.
        text: the encoded ``Chat`` event.
        connection: the connection that sent it, which gets no copy.
    """

    seq: int
    text: str
    connection: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a joining member gets.

    Args:
        room: with ``epoch``, ``last_seq`` and ``access_version``. Everything up to ``last_seq`` is settled by
            ``messages``; what comes later is live. Nothing was stored under a newer ``access_version``.
        messages: oldest first.
        recovered: whether they are exactly what came after the member's position.
    """

    room: Room
    messages: list[Chat]
    recovered: bool


@dataclass(frozen=True, slots=True)
class Tail:
    """Messages after a number.

    Args:
        entries: in order; hidden messages are missing.
        upto: the number up to which ``entries`` are complete.
        last_seq: the room's newest number.
    """

    entries: list[Entry]
    upto: int
    last_seq: int


def read_snapshot(room_id: int, since: Position | None) -> Snapshot:
    """Return what a member gets that joins now.

    Args:
        room_id: the room's primary key.
        since: how far the member had read; None for a new one.

    Raises:
        Room.DoesNotExist: if there is no such room.
    """
    room = Room.objects.only("slug", "epoch", "last_seq", "access_version").get(pk=room_id)
    rows = _visible(room_id).filter(seq__lte=room.last_seq)
    if since is not None and _can_resume(room, since):
        missed = [_chat(room.slug, row) for row in rows.filter(seq__gt=since.seq).order_by("seq")]
        return Snapshot(room, missed, recovered=True)
    newest = read_before(room_id, room.slug, room.last_seq + 1, limits().newest)
    return Snapshot(room, newest, recovered=False)


def read_before(room_id: int, slug: str, before: int | None, limit: int) -> list[Chat]:
    """Return at most ``limit`` messages with numbers under ``before``, or the newest, oldest first."""
    rows = _visible(room_id)
    if before is not None:
        rows = rows.filter(seq__lt=before)
    return [_chat(slug, row) for row in reversed(list(rows.order_by("-seq")[:limit]))]


def read_between(room_id: int, slug: str, after: int, upto: int) -> Tail:
    """Return a page of the messages with numbers over ``after`` and not over ``upto``."""
    rows = list(_visible(room_id).filter(seq__gt=after, seq__lte=upto).order_by("seq")[:TAIL_PAGE])
    entries = [Entry(row.seq, encode(_chat(slug, row)), row.connection) for row in rows]
    return Tail(entries, upto if len(rows) < TAIL_PAGE else rows[-1].seq, upto)


def read_tail(room_id: int, slug: str, after: int) -> Tail:
    """Return a page of the messages with numbers over ``after``.

    Raises:
        Room.DoesNotExist: if there is no such room.
    """
    return read_between(room_id, slug, after, Room.objects.only("last_seq").get(pk=room_id).last_seq)


def read_access(room_id: int, people: Collection[Person]) -> tuple[Room, dict[str, Standing]]:
    """Return a room and what people are to it, by their key, as of its ``access_version`` or later.

    Raises:
        Room.DoesNotExist: if there is no such room.
    """
    room = Room.objects.get(pk=room_id)
    user_ids = [person.user_id for person in people if person.user_id is not None]
    roles: Any = dict(room.memberships.filter(user_id__in=user_ids).values_list("user_id", "role"))
    return room, {person.key: standing_from(person.user, roles.get(person.user_id)) for person in people}


def _can_resume(room: Room, since: Position) -> bool:
    missed = room.last_seq - since.seq
    if since.epoch != str(room.epoch) or not 0 <= missed <= limits().resume:
        return False
    # The beginning of a room may have been pruned; what is there has no holes.
    return missed == 0 or RoomMessage.objects.filter(room_id=room.pk, seq=since.seq + 1).exists()


def _visible(room_id: int) -> QuerySet[RoomMessage]:
    return RoomMessage.objects.filter(room_id=room_id, is_hidden=False)


def _chat(slug: str, row: RoomMessage) -> Chat:
    at = row.at.astimezone(datetime.UTC)
    return Chat(room=slug, seq=row.seq, user=row.name, content=row.content, at=at)
