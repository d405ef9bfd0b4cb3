"""Who is in a room, across processes: rows that count while their process renews its lease.

A room's ``presence_version`` goes up by one with each *transition*: a user who comes with a first connection, or goes
with the last one. Everything here is synchronous and runs in a database thread.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from django.db import transaction
from django.db.models import Q

from realtime.rooms.models import Attendance, Room
from realtime.rooms.protocol import PresenceState
from realtime.rooms.store.message_store import lock_rooms

__all__ = ["Change", "Transition", "processes_present", "read_presence", "reap_process", "reconcile", "store_changes"]

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
        ledger = _Ledger(changes)
        transitions = [ledger.apply(change) for change in changes]
        ledger.save()
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


def reap_process(process: uuid.UUID) -> list[Transition]:
    """Remove the connections of a process that has ended; return who has gone with it.

    Several processes may try: whoever deletes a row returns its transition.
    """
    return reconcile(process, [])


def reconcile(process: uuid.UUID, present: Iterable[Change]) -> list[Transition]:
    """Make the rows of a process equal to what is true, and return the transitions.

    Args:
        process: identity of the process.
        present: one ``"joined"`` change for each connection and room.
    """
    wanted = {(change.room_id, change.connection): change for change in present}
    stored = {
        (row.room_id, row.connection): Change(row.room_id, process, row.connection, row.key, row.name, LEFT)
        for row in Attendance.objects.filter(process=process)
    }
    changes = [change for place, change in stored.items() if place not in wanted]
    changes += [change for place, change in wanted.items() if place not in stored]
    if not changes:
        return []
    return [transition for transition in store_changes(changes) if transition is not None]


class _Ledger:
    """The rows of the users that a batch of changes is about."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._rooms = lock_rooms(change.room_id for change in changes)
        self._rows: dict[tuple[int, str], dict[str, Attendance]] = {}
        self._created: dict[tuple[int, str], Attendance] = {}
        self._deleted: list[int] = []
        self._moved: set[Room] = set()
        for row in _rows_of({(change.room_id, change.key) for change in changes}):
            self._rows.setdefault((row.room_id, row.key), {})[row.connection] = row

    def apply(self, change: Change) -> Transition | None:
        room = self._rooms.get(change.room_id)
        if room is None:
            return None
        present = self._rows.setdefault((change.room_id, change.key), {})
        if (change.connection in present) == (change.state == JOINED):
            return None
        if change.state == JOINED:
            self._add(change, room, present)
            return self._transition(change, room) if len(present) == 1 else None
        self._remove(change, present)
        return None if present else self._transition(change, room)

    def save(self) -> None:
        Attendance.objects.filter(pk__in=self._deleted).delete()
        Attendance.objects.bulk_create(self._created.values())
        for room in self._moved:
            Room.objects.filter(pk=room.pk).update(presence_version=room.presence_version)

    def _add(self, change: Change, room: Room, present: dict[str, Attendance]) -> None:
        row = Attendance(
            room=room, process=change.process, connection=change.connection, key=change.key, name=change.name
        )
        present[change.connection] = self._created[change.room_id, change.connection] = row

    def _remove(self, change: Change, present: dict[str, Attendance]) -> None:
        row = present.pop(change.connection)
        if self._created.pop((change.room_id, change.connection), None) is None:
            self._deleted.append(row.pk)

    def _transition(self, change: Change, room: Room) -> Transition:
        room.presence_version += 1
        self._moved.add(room)
        return Transition(change.room_id, room.presence_version, change.key, change.name, change.state)


def _rows_of(places: Collection[tuple[int, str]]) -> Iterable[Attendance]:
    condition = Q()
    for room_id in {room_id for room_id, _ in places}:
        condition |= Q(room_id=room_id, key__in=[key for room, key in places if room == room_id])
    return Attendance.objects.filter(condition) if places else ()
