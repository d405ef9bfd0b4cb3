"""Messages in the database: numbers, repeats, refusals, and what one transaction holds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import OperationalError, connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from realtime.engine.testing import create_user
from realtime.engine.topics.store import Stored
from realtime.rooms.models import Membership, Role, Room, RoomMessage
from realtime.rooms.permissions import Person, Refusal, Standing
from realtime.rooms.store import ROOM_STORE, RoomStore, Write, check_content

User = get_user_model()

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def room() -> Room:
    """A room in which everybody may write."""
    return Room.objects.create(slug="room", anonymous_may_post=True)


@pytest.fixture
def bob() -> User:
    """A user."""
    return create_user("bob")


def write(room: Room, content: str = "hi", ref: str | None = None, user: Any = None, **changes: Any) -> Write:
    """A message of ``user``, or of the anonymous user on the connection ``"c"``."""
    fields: dict[str, Any] = {
        "room_id": room.pk,
        "slug": room.slug,
        "person": Person.of(user or AnonymousUser(), "c"),
        "content": content,
        "ref": ref,
        "sender": "c",
        "standing": Standing.MEMBER if user else Standing.ANONYMOUS,
        "access_version": 0,
    }
    return Write(**{**fields, **changes})


def seqs(outcomes: list[Any]) -> list[int]:
    """Return the numbers of stored messages."""
    return [outcome.seq for outcome in outcomes]


def test_messages_get_the_next_numbers_of_their_rooms(room: Room) -> None:
    other = Room.objects.create(slug="other", anonymous_may_post=True)
    outcomes = ROOM_STORE.append([write(room), write(other), write(room), write(room)])
    assert seqs(outcomes) == [1, 1, 2, 3]
    assert seqs(ROOM_STORE.append([write(room), write(other)])) == [4, 2]
    assert list(Room.objects.order_by("slug").values_list("last_seq", flat=True)) == [2, 4]


def test_a_batch_costs_as_many_queries_as_one_message(room: Room) -> None:
    with CaptureQueriesContext(connection) as one:
        ROOM_STORE.append([write(room, ref="a")])
    with CaptureQueriesContext(connection) as many:
        ROOM_STORE.append([write(room, ref=str(number)) for number in range(50)])
    assert len(many) == len(one)


#: id, the two writes as (user?, ref, content), whether they are one message.
REPEATS = [
    ("the same ref and text", (True, "r", "hi"), (True, "r", "hi"), True),
    ("another text", (True, "r", "hi"), (True, "r", "ho"), False),
    ("another ref", (True, "r", "hi"), (True, "s", "hi"), False),
    ("another author", (True, "r", "hi"), (False, "r", "hi"), False),
    ("no ref", (True, None, "hi"), (True, None, "hi"), False),
    ("a ref that runs into the text", (True, "r", "\x01hi"), (True, "r\x01", "hi"), False),
]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
@pytest.mark.parametrize(("first", "second", "is_one"), [row[1:] for row in REPEATS], ids=[row[0] for row in REPEATS])
def test_a_repeat_is_the_same_message(
    room: Room, bob: User, first: Any, second: Any, is_one: bool, together: bool
) -> None:
    writes = [write(room, content, ref, bob if by_user else None) for by_user, ref, content in (first, second)]
    outcomes = ROOM_STORE.append(writes) if together else [ROOM_STORE.append([w])[0] for w in writes]
    assert seqs(outcomes) == ([1, 1] if is_one else [1, 2])
    assert [outcome.is_repeat for outcome in outcomes if isinstance(outcome, Stored)] == [False, is_one]
    assert RoomMessage.objects.count() == (1 if is_one else 2)
    if is_one:
        assert outcomes[0].at == outcomes[1].at  # type: ignore[union-attr]


def test_one_message_that_the_database_refuses_does_not_touch_the_others(room: Room, bob: User) -> None:
    gone = User(pk=bob.pk + 1000)
    outcomes = ROOM_STORE.append([write(room), write(room, user=gone), write(room)])
    assert [type(outcome) for outcome in outcomes] == [Stored, Refusal, Stored]
    assert seqs([outcomes[0], outcomes[2]]) == [1, 2]


def test_a_room_that_is_gone_refuses_its_messages_only(room: Room) -> None:
    gone = Room(pk=room.pk + 1000, slug="gone")
    refused, stored = ROOM_STORE.append([write(gone), write(room)])
    assert isinstance(refused, Refusal)
    assert refused.code == "unknown_room"
    assert isinstance(stored, Stored)


@pytest.mark.parametrize(
    ("role", "code"), [(Role.MEMBER, None), (Role.MODERATOR, None), (Role.BANNED, "forbidden"), (None, "not_joined")]
)
def test_an_outdated_admission_is_looked_up_again_in_the_transaction(
    room: Room, bob: User, role: str | None, code: str | None
) -> None:
    if role is not None:
        Membership.objects.create(room=room, user=bob, role=role)
    Room.objects.filter(pk=room.pk).update(access_version=9)
    outcome = ROOM_STORE.append([write(room, user=bob)])[0]
    assert getattr(outcome, "code", None) == code


class LostConnection:
    """Loses the connection during the first commits, before or after they took effect."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, committed: bool) -> None:
        self._store = ROOM_STORE.store
        self._committed = committed
        self.calls = 0
        monkeypatch.setattr(RoomStore, "store", staticmethod(self))

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        if self.calls > 1:
            return self._store(*arguments)
        if self._committed:
            self._store(*arguments)
        raise OperationalError("server closed the connection unexpectedly")


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("ref", ["r", None])
def test_a_lost_connection_neither_loses_nor_doubles_a_message(
    room: Room, monkeypatch: pytest.MonkeyPatch, committed: bool, ref: str | None
) -> None:
    LostConnection(monkeypatch, committed=committed)
    assert seqs(ROOM_STORE.append([write(room, ref=ref)])) == [1]
    assert RoomMessage.objects.count() == 1


def test_threads_that_write_at_the_same_time_share_the_numbers(room: Room) -> None:
    outcomes: list[Any] = []

    def work() -> None:
        for _ in range(20):
            outcomes.extend(ROOM_STORE.append([write(room), write(room)]))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seqs(outcomes)) == list(range(1, 161))


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("hi", None),
        ("x" * 10, None),
        ("x" * 11, "too_large"),
        ("", "invalid_message"),
        ("\n\t ", "invalid_message"),
        ("a\0", "invalid_message"),
        ("\ud800", "invalid_message"),
        ("😀" * 10, None),
    ],
)
def test_the_text_of_a_message(content: str, code: str | None) -> None:
    with override_settings(REALTIME_ROOMS={"content_length": 10}):
        problem = check_content(content)
    assert (None if problem is None else problem.code) == code


@pytest.fixture(autouse=True)
def _closed_connections() -> Iterator[None]:
    """The connection that a test has broken is opened again."""
    yield
    connection.ensure_connection()
