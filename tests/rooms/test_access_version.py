"""A room's ``access_version`` rises in the transaction that changes who may do what, however it is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, connections

from realtime.engine.testing import create_user, login_name
from realtime.rooms.models import Membership, Role, Room
from realtime.rooms.services import close_room

User = get_user_model()

pytestmark = pytest.mark.django_db(transaction=True)

State = tuple[int, Any]


@pytest.fixture
def room() -> Room:
    room = Room.objects.create(slug="r")
    Membership.objects.create(room=room, user=create_user("bob"))
    create_user("carol")
    return room


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    """A thread, and so a database connection, of its own."""
    with ThreadPoolExecutor(1) as thread:
        yield thread
        thread.submit(connections.close_all).result()


def read_state() -> State:
    """Return version and rights, as one statement sees them."""
    rights = ("is_public", "anonymous_may_read", "anonymous_may_post", "is_archived", "closings")
    rows = Room.objects.order_by("memberships__user").values_list(
        "access_version", "memberships__user", "memberships__role", *rights
    )
    return rows[0][0], [row[1:] for row in rows]


def states_during(change: Callable[[], Any], elsewhere: ThreadPoolExecutor) -> list[State]:
    """Return what another connection sees before each statement of a change, and at its end."""
    states = []

    def observe(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        states.append(elsewhere.submit(read_state).result())
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(observe):
        change()
    return [*states, elsewhere.submit(read_state).result()]


def user_called(name: str) -> Any:
    return User.objects.get_by_natural_key(login_name(name))


def bob() -> Membership:
    return Membership.objects.get(user=user_called("bob"))


def save(row: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    row.save()


def bulk_update(row: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    type(row).objects.bulk_update([row], values)


def bulk_ban(room: Room, *names: str, **options: Any) -> None:
    users = [user_called(name) for name in names]
    Membership.objects.bulk_create([Membership(room=room, user=user, role=Role.BANNED) for user in users], **options)


CHANGES: dict[str, Callable[[Room], Any]] = {
    "a role is saved": lambda room: save(bob(), role=Role.BANNED),
    "a role is updated": lambda room: Membership.objects.filter(user=user_called("bob")).update(role=Role.BANNED),
    "a role is updated by its room": lambda room: room.memberships.update(role=Role.BANNED),
    "a role is updated in bulk": lambda room: bulk_update(bob(), role=Role.BANNED),
    "a role is updated or created": lambda room: Membership.objects.update_or_create(
        room=room, user=bob().user, defaults={"role": Role.BANNED}
    ),
    "an outsider is banned": lambda room: Membership.objects.create(
        room=room, user=user_called("carol"), role=Role.BANNED
    ),
    "outsiders are banned in bulk": lambda room: bulk_ban(room, "carol"),
    "members are banned in bulk": lambda room: bulk_ban(
        room, "bob", "carol", update_conflicts=True, unique_fields=["room", "user"], update_fields=["role"]
    ),
    "a membership is deleted": lambda room: bob().delete(),
    "memberships are deleted": lambda room: room.memberships.all().delete(),
    "a user is deleted": lambda room: user_called("bob").delete(),
    "a room is saved": lambda room: save(room, is_public=False),
    "a room is updated": lambda room: Room.objects.update(anonymous_may_read=False),
    "a room is updated in bulk": lambda room: bulk_update(room, anonymous_may_post=True),
    "a room is archived": lambda room: save(room, is_archived=True),
    "a room is closed": close_room,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_nobody_sees_other_rights_under_the_same_version(
    room: Room, elsewhere: ThreadPoolExecutor, change: Callable[[Room], Any]
) -> None:
    states = states_during(lambda: change(room), elsewhere)
    (version, rights), (last_version, last_rights) = states[0], states[-1]
    assert last_rights != rights
    assert last_version > version
    for seen_version, seen_rights in states:
        assert (seen_version == version) == (seen_rights == rights)


def test_a_membership_that_moves_to_another_room_changes_both(room: Room) -> None:
    other = Room.objects.create(slug="s")
    room.memberships.update(room=other)
    assert set(Room.objects.values_list("access_version", flat=True)) == {1}


def test_counting_messages_changes_no_rights(room: Room) -> None:
    Room.objects.update(last_seq=7)
    assert Room.objects.get().access_version == 0
