"""Who is in a topic, as the rows say: one coming and one going for each user."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from realtime.engine.protocol.errors import MessageRefused
from realtime.engine.topics.limits import MAX_METADATA
from realtime.engine.topics.models import PresentConnection, PresentTopic
from realtime.engine.topics.presence import (
    Change,
    Presence,
    plain_metadata,
    processes_present,
    read_presence,
    read_versions,
    reconcile,
    store_changes,
)

pytestmark = pytest.mark.django_db

HERE, THERE = uuid.UUID(int=1), uuid.UUID(int=2)


def change(key: str, connection_name: str, state: str = "joined", process: uuid.UUID = HERE, **metadata: Any) -> Change:
    """A connection of the user ``key`` comes (with its metadata) or goes."""
    return Change("topic", process, connection_name, key, metadata, leaves=state == "left")


def rows_of(transitions: Any) -> list[Any]:
    """Return key and state of each transition."""
    return [None if t is None else (t.key, t.state) for t in transitions]


def names() -> set[str]:
    return set(read_presence("topic")[1])


#: id, (user, connection, state) one after the other, the transitions.
CASES: list[tuple[str, list[tuple[str, str, str]], list[Any]]] = [
    ("comes and goes", [("a", "1", "joined"), ("a", "1", "left")], [("a", "joined"), ("a", "left")]),
    (
        "three tabs",
        [*(("a", tab, "joined") for tab in "123"), *(("a", tab, "left") for tab in "132")],
        [("a", "joined"), None, None, None, None, ("a", "left")],
    ),
    ("comes twice", [("a", "1", "joined"), ("a", "1", "joined")], [("a", "joined"), None]),
    (
        "goes twice",
        [("a", "1", "joined"), ("a", "1", "left"), ("a", "1", "left")],
        [("a", "joined"), ("a", "left"), None],
    ),
    ("was never there", [("a", "1", "left")], [None]),
    ("two users", [("a", "1", "joined"), ("b", "2", "joined")], [("a", "joined"), ("b", "joined")]),
    (
        "an anonymous user signs in",
        [("anonymous", "1", "joined"), ("anonymous", "1", "left"), ("a", "1", "joined")],
        [("anonymous", "joined"), ("anonymous", "left"), ("a", "joined")],
    ),
    (
        "goes and comes back",
        [("a", "1", "joined"), ("a", "1", "left"), ("a", "1", "joined")],
        [("a", "joined"), ("a", "left"), ("a", "joined")],
    ),
]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
@pytest.mark.parametrize(("changes", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_only_the_first_coming_and_the_last_going_count(
    changes: list[tuple[str, str, str]], expected: list[Any], together: bool
) -> None:
    rows = [change(*row) for row in changes]
    transitions = store_changes(rows) if together else [store_changes([row])[0] for row in rows]
    assert rows_of(transitions) == expected
    versions = [transition.version for transition in transitions if transition is not None]
    assert versions == sorted(set(versions))
    last = dict(filter(None, expected))
    assert names() == {key for key, state in last.items() if state == "joined"}


def test_versions_go_up_by_one_while_somebody_is_present() -> None:
    changes = [change("a", "1"), change("b", "2"), change("c", "3"), change("b", "2", "left")]
    versions = [store_changes([row])[0].version for row in changes]  # type: ignore[union-attr]
    assert versions == list(range(versions[0], versions[0] + 4))
    assert read_presence("topic")[0] == versions[-1]
    assert read_versions(["topic", "other"]) == {"topic": versions[-1]}


def test_a_topic_without_anybody_leaves_no_row_and_its_next_version_is_above_every_earlier_one() -> None:
    store_changes([change("a", "1")])
    gone = store_changes([change("a", "1", "left")])[0]
    assert not PresentTopic.objects.exists()
    assert read_presence("topic") == (None, {})
    again = store_changes([change("a", "1")])[0]
    assert gone is not None
    assert again is not None
    assert again.version > gone.version


def test_a_user_is_present_since_the_first_connection_with_its_metadata() -> None:
    first = store_changes([change("a", "1", name="Ann", colour="red")])[0]
    assert first is not None
    assert store_changes([change("a", "2", name="Ann", colour="red")]) == [None]
    store_changes([change("a", "1", "left")])
    _, present = read_presence("topic")
    assert present["a"].metadata == {"name": "Ann", "colour": "red"}
    assert present["a"].since >= first.since


def test_other_metadata_are_an_update_of_the_user_on_every_connection() -> None:
    store_changes([change("a", "1", colour="red"), change("a", "2", colour="red")])
    updated = store_changes([change("a", "1", colour="blue")])[0]
    assert updated is not None
    assert (updated.state, updated.metadata) == ("updated", {"colour": "blue"})
    assert list(PresentConnection.objects.values_list("metadata__colour", flat=True)) == ["blue", "blue"]
    assert read_presence("topic")[1]["a"].metadata == {"colour": "blue"}
    assert rows_of(store_changes([change("a", "3", colour="green")])) == [("a", "updated")]
    assert updated.presence == Presence("a", updated.since, {"colour": "blue"})


def test_metadata_have_a_largest_size_and_are_json() -> None:
    plain_metadata({"name": "x" * (MAX_METADATA - 11)})
    with pytest.raises(MessageRefused, match="1024 bytes of JSON, not 1025"):
        plain_metadata({"name": "x" * (MAX_METADATA - 10)})
    with pytest.raises(MessageRefused, match="U\\+0000"):
        plain_metadata({"name": "a\0b"})
    with pytest.raises(TypeError):
        plain_metadata({"name": object()})
    assert plain_metadata({"at": uuid.UUID(int=1), "rate": float("nan"), "many": 10**30}) == {
        "at": str(uuid.UUID(int=1)),
        "rate": None,
        "many": 10**30,
    }


def test_a_batch_costs_as_many_queries_as_one_change() -> None:
    with CaptureQueriesContext(connection) as one:
        store_changes([change("a", "1")])
    with CaptureQueriesContext(connection) as many:
        store_changes([change(str(number), str(number)) for number in range(2, 50)])
    assert len(many) == len(one)


def test_a_process_that_has_ended_is_reaped_once() -> None:
    store_changes([change("a", "1"), change("b", "2", process=THERE)])
    store_changes([change("a", "3", process=THERE)])
    assert processes_present() == {HERE, THERE}
    assert rows_of(reconcile(THERE, [])) == [("b", "left")]
    assert reconcile(THERE, []) == []
    assert names() == {"a"}


def test_a_process_that_was_reaped_by_mistake_comes_back() -> None:
    present = [change("a", "1"), change("b", "2")]
    store_changes(present)
    reconcile(HERE, [])
    assert rows_of(reconcile(HERE, present)) == [("a", "joined"), ("b", "joined")]
    assert reconcile(HERE, present) == []


def test_a_row_that_was_not_removed_is_removed_by_the_next_look() -> None:
    store_changes([change("a", "1"), change("b", "2")])
    assert rows_of(reconcile(HERE, [change("a", "1")])) == [("b", "left")]


def test_topics_do_not_mix() -> None:
    other = Change("other", HERE, "1", "a")
    assert rows_of(store_changes([change("a", "1"), other])) == [("a", "joined"), ("a", "joined")]
    assert rows_of(store_changes([change("a", "1", "left")])) == [("a", "left")]
    assert set(read_presence("other")[1]) == {"a"}
