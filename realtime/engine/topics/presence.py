"""Who is in a room, across processes: rows that count while their process renews its lease.

A room's ``presence_version`` goes up by one with each *transition*: a user who comes with a first connection, or goes
with the last one. Everything here is synchronous and runs in a database thread.
"""

from __future__ import annotations

import collections
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from django.db import transaction

from realtime.rooms.models import Attendance, Room
from realtime.rooms.protocol import PresenceState
from realtime.rooms.store.message_store import lock_rooms

JOINED: Final = "joined"
LEFT: Final = "left"


@dataclass(frozen=True, slots=True)
class Change:
    """A connection enters or leaves a room; ``key`` and ``name`` are those of its ``Person``."""

    room_id: int
    process: uuid.UUID
    connection: str
    key: str
    name: str
    state: PresenceState


class Transition(NamedTuple):
    """A user's first connection has entered a room, or the last one has left it.

    ``version`` is the room's ``presence_version`` with this transition.
    """

    room_id: int
    version: int
    key: str
    name: str
    state: PresenceState


def store_changes(changes: Sequence[Change]) -> list[Transition | None]:
    """Store changes in one transaction, and return the transition that each one is, None where it is none."""
    with transaction.atomic():
        rooms = lock_rooms(change.room_id for change in changes)
        stored = list(Attendance.objects.filter(room_id__in=rooms, key__in={change.key for change in changes}))
        users: dict[tuple[int, str], dict[str, Attendance]] = collections.defaultdict(dict)
        for row in stored:
            users[row.room_id, row.key][row.connection] = row
        transitions = [
            _apply(change, rooms.get(change.room_id), users[change.room_id, change.key]) for change in changes
        ]
        present = [row for rows in users.values() for row in rows.values()]
        gone = {row.pk for row in stored} - {row.pk for row in present}
        Attendance.objects.filter(pk__in=gone).delete()
        Attendance.objects.bulk_create([row for row in present if row.pk is None])
        versions = {transition.room_id: transition.version for transition in transitions if transition is not None}
        for room_id, version in versions.items():
            Room.objects.filter(pk=room_id).update(presence_version=version)
    return transitions


def read_presence(room_id: int) -> tuple[int, dict[str, str]]:
    """Return a room's ``presence_version`` and who is there, names by key, as of one moment.

    Raises:
        Room.DoesNotExist: if there is no such room.
    """
    rows = list(
        Room.objects.filter(pk=room_id).values_list("presence_version", "attendances__key", "attendances__name")
    )
    if not rows:
        raise Room.DoesNotExist(f"room {room_id}")
    return rows[0][0], {key: name for _, key, name in rows if key is not None}


def processes_present() -> set[uuid.UUID]:
    """Return the processes that hold connections in rooms, as the rows say."""
    return set(Attendance.objects.values_list("process", flat=True).distinct())


def reconcile(process: uuid.UUID, present: Iterable[Change]) -> list[Transition]:
    """Make the rows of a process equal to what is true, and return the transitions.

    Several processes may remove the rows of one that has ended: the one that deletes a row returns its transition.

    Args:
        process: identity of the process.
        present: one ``"joined"`` change for each connection and room; none for a process that has ended.
    """
    wanted = {(change.room_id, change.connection): change for change in present}
    stored = {
        (row.room_id, row.connection): Change(row.room_id, process, row.connection, row.key, row.name, LEFT)
        for row in Attendance.objects.filter(process=process)
    }
    changes = [change for place, change in stored.items() if place not in wanted]
    changes += [change for place, change in wanted.items() if place not in stored]
    return [transition for transition in store_changes(changes) if transition is not None]


def _apply(change: Change, room: Room | None, present: dict[str, Attendance]) -> Transition | None:
    """Apply a change to the rows of its user in its room, by connection."""
    is_joining = change.state == JOINED
    if room is None or is_joining == (change.connection in present):
        return None
    was_there = bool(present)
    if is_joining:
        present[change.connection] = Attendance(
            room=room, process=change.process, connection=change.connection, key=change.key, name=change.name
        )
    else:
        del present[change.connection]
    if was_there == bool(present):
        return None
    room.presence_version += 1
    return Transition(change.room_id, room.presence_version, change.key, change.name, change.state)
