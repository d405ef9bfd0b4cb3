"""Who is in a room, as the rows say: one coming and one going for each user."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from realtime.engine.topics.presence import Change, Transition, processes_present, read_presence, reconcile
from realtime.engine.topics.presence import store_changes as store
from realtime.rooms.models import Attendance, Room

pytestmark = pytest.mark.django_db

HERE, THERE = uuid.UUID(int=1), uuid.UUID(int=2)


@pytest.fixture
def room() -> Room:
    """A room."""
    return Room.objects.create(slug="room")


def change(room: Room, key: str, connection_name: str, state: str, process: uuid.UUID = HERE) -> Change:
    """A connection of the user ``key`` comes or goes."""
    return Change(room.pk, process, connection_name, key, key, state)


def rows_of(transitions: Any) -> list[Any]:
    """Return key, state and version of each transition."""
    return [None if t is None else (t.key, t.state, t.version) for t in transitions]


#: id, (user, connection, state) one after the other, the transitions.
CASES: list[tuple[str, list[tuple[str, str, str]], list[Any]]] = [
    ("comes and goes", [("a", "1", "joined"), ("a", "1", "left")], [("a", "joined", 1), ("a", "left", 2)]),
    (
        "three tabs",
        [*(("a", tab, "joined") for tab in "123"), *(("a", tab, "left") for tab in "132")],
        [("a", "joined", 1), None, None, None, None, ("a", "left", 2)],
    ),
    ("comes twice", [("a", "1", "joined"), ("a", "1", "joined")], [("a", "joined", 1), None]),
    (
        "goes twice",
        [("a", "1", "joined"), ("a", "1", "left"), ("a", "1", "left")],
        [("a", "joined", 1), ("a", "left", 2), None],
    ),
    ("was never there", [("a", "1", "left")], [None]),
    ("two users", [("a", "1", "joined"), ("b", "2", "joined")], [("a", "joined", 1), ("b", "joined", 2)]),
    (
        "an anonymous user signs in",
        [("anonymous", "1", "joined"), ("anonymous", "1", "left"), ("a", "1", "joined")],
        [("anonymous", "joined", 1), ("anonymous", "left", 2), ("a", "joined", 3)],
    ),
    (
        "goes and comes back",
        [("a", "1", "joined"), ("a", "1", "left"), ("a", "1", "joined")],
        [("a", "joined", 1), ("a", "left", 2), ("a", "joined", 3)],
    ),
]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
@pytest.mark.parametrize(("changes", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_only_the_first_coming_and_the_last_going_count(
    room: Room, changes: list[tuple[str, str, str]], expected: list[Any], together: bool
) -> None:
    rows = [change(room, key, name, state) for key, name, state in changes]
    transitions = store(rows) if together else [store([row])[0] for row in rows]
    assert rows_of(transitions) == expected
    version, roster = read_presence(room.pk)
    assert version == max(t[2] for t in [("", "", 0), *expected] if t is not None)
    last = {key: state for key, state, _ in filter(None, expected)}
    assert set(roster) == {key for key, state in last.items() if state == "joined"}


def test_a_batch_costs_as_many_queries_as_one_change(room: Room) -> None:
    with CaptureQueriesContext(connection) as one:
        store([change(room, "a", "1", "joined")])
    with CaptureQueriesContext(connection) as many:
        store([change(room, str(number), str(number), "joined") for number in range(2, 50)])
    assert len(many) == len(one)


def test_a_process_that_has_ended_is_reaped_once(room: Room) -> None:
    store([change(room, "a", "1", "joined"), change(room, "b", "2", "joined", THERE)])
    store([change(room, "a", "3", "joined", THERE)])
    assert processes_present() == {HERE, THERE}
    assert rows_of(reconcile(THERE, [])) == [("b", "left", 3)]
    assert reconcile(THERE, []) == []
    assert read_presence(room.pk) == (3, {"a": "a"})


def test_a_process_that_was_reaped_by_mistake_comes_back(room: Room) -> None:
    present = [change(room, "a", "1", "joined"), change(room, "b", "2", "joined")]
    store(present)
    reconcile(HERE, [])
    assert rows_of(reconcile(HERE, present)) == [("a", "joined", 5), ("b", "joined", 6)]
    assert reconcile(HERE, present) == []


def test_a_row_that_was_not_removed_is_removed_by_the_next_look(room: Room) -> None:
    store([change(room, "a", "1", "joined"), change(room, "b", "2", "joined")])
    assert rows_of(reconcile(HERE, [change(room, "a", "1", "joined")])) == [("b", "left", 3)]


def test_a_room_that_is_gone_has_no_comings(room: Room) -> None:
    gone = Room(pk=room.pk + 1000)
    assert store([change(gone, "a", "1", "joined")]) == [None]
    assert Attendance.objects.count() == 0
    with pytest.raises(Room.DoesNotExist):
        read_presence(gone.pk)


def test_a_transition_names_its_room(room: Room) -> None:
    assert store([change(room, "a", "1", "joined")]) == [Transition(room.pk, 1, "a", "a", "joined")]
