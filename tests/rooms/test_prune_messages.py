from __future__ import annotations

import datetime
import io

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from realtime.engine import Position
from realtime.rooms.models import Room, RoomMessage, topic_of
from realtime.rooms.services import oldest_kept, prune_room
from realtime.rooms.store import ROOM_STORE

pytestmark = pytest.mark.django_db

NOW = timezone.now()


def days_ago(days: float) -> datetime.datetime:
    return NOW - datetime.timedelta(days=days)


@pytest.fixture
def room() -> Room:
    """A room with a message a day, for thirty days; number 30 is of today."""
    room = Room.objects.create(slug="old", last_seq=30)
    RoomMessage.objects.bulk_create(
        RoomMessage(room=room, seq=seq, name="ann", content=str(seq), at=days_ago(30 - seq), idempotency_key=str(seq))
        for seq in range(1, 31)
    )
    return room


def numbers(room: Room) -> list[int]:
    return list(room.messages.order_by("seq").values_list("seq", flat=True))


@pytest.mark.parametrize(
    ("days", "keep", "oldest"),
    [(9.5, 0, 21), (9.5, 5, 21), (9.5, 25, 6), (100, 0, 1), (-1, 0, 31), (-1, 30, 1), (-1, 31, 0)],
)
def test_the_oldest_message_that_stays_is_found_by_age_and_number(room: Room, days, keep, oldest) -> None:
    assert oldest_kept(room, days_ago(days), keep) == oldest


def test_a_batch_deletes_the_oldest_and_no_more_than_it_may(room: Room) -> None:
    assert prune_room(room, 21, batch=8) == 8
    assert numbers(room) == list(range(9, 31))
    assert [prune_room(room, 21, batch=8) for _ in range(3)] == [8, 4, 0]
    assert numbers(room) == list(range(21, 31))


def test_the_search_works_in_a_room_that_was_pruned_before(room: Room) -> None:
    prune_room(room, 10)
    assert oldest_kept(room, days_ago(9.5), 0) == 21
    prune_room(room, 31)
    assert oldest_kept(room, days_ago(9.5), 0) == 31


def test_the_command_prunes_in_batches_and_prints_its_progress(room: Room) -> None:
    Room.objects.create(slug="empty")
    out = io.StringIO()
    call_command("prune_messages", days=9.5, batch=8, pause=0, stdout=out)
    assert numbers(room) == list(range(21, 31))
    assert [line for line in out.getvalue().splitlines() if line.startswith("old:")] == [
        "old: 8 deleted",
        "old: 16 deleted",
        "old: 20 deleted",
    ]
    assert "Deleted 20 messages" in out.getvalue()


def test_a_dry_run_deletes_nothing(room: Room) -> None:
    out = io.StringIO()
    call_command("prune_messages", days=9.5, dry_run=True, stdout=out)
    assert "Would delete 20 messages" in out.getvalue()
    assert len(numbers(room)) == 30


def test_other_rooms_stay_as_they_are(room: Room) -> None:
    call_command("prune_messages", days=9.5, room=[Room.objects.create(slug="other").slug], stdout=io.StringIO())
    assert len(numbers(room)) == 30
    with pytest.raises(CommandError, match="no room nowhere"):
        call_command("prune_messages", days=9.5, room=["nowhere"])


@pytest.mark.parametrize("wrong", [{"days": -1}, {"days": 1, "batch": 0}, {"days": 1, "keep": -1}])
def test_impossible_options_are_refused(wrong) -> None:
    with pytest.raises(CommandError):
        call_command("prune_messages", **wrong)


def test_the_next_message_gets_the_next_number(room: Room) -> None:
    prune_room(room, 31)
    room.refresh_from_db()
    assert room.last_seq == 30


def test_a_position_before_the_beginning_is_not_recovered(room: Room) -> None:
    prune_room(room, 21)
    epoch = str(room.epoch)
    topic = topic_of(room.slug)

    def recover(seq: int) -> tuple[bool, list[int]]:
        recovery = ROOM_STORE.recover(topic, Position(epoch=epoch, seq=seq))
        return recovery.recovered, [entry.seq for entry in recovery.entries]

    assert recover(15) == (False, list(range(21, 31)))
    assert recover(20) == (True, list(range(21, 31)))
    assert recover(30) == (True, [])
    assert [entry.seq for entry in ROOM_STORE.read_before(topic, 25, 50)] == [21, 22, 23, 24]
