"""A fanout between a channel layer that loses, repeats and reorders, and a room that knows everything."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import OperationalError
from django.test import override_settings

from realtime.engine import SharedMessage
from realtime.engine.topics.fanout import Member, RoomFanout
from realtime.engine.topics.presence import Transition, read_presence
from realtime.rooms.models import Room
from realtime.rooms.permissions import Person, Standing, standing_from
from realtime.rooms.store.selectors import Entry, Tail, read_access, read_between, read_tail

User = get_user_model()


class FakeRoom:
    """A room's rows, read as a fan-out reads them."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.last_seq = 0
        self.anonymous_may_read = True
        self.access_version = 1
        self.closings = 0
        self.roles: dict[int, str] = {}
        self.roster: dict[str, str] = {}
        self.presence_version = 0
        self.exists = True
        self.failures = 0
        self.reads: list[str] = []
        #: Called before a read returns: what happens while a fan-out waits for the database.
        self.meanwhile: Callable[[str], None] = lambda _: None

    def say(self, connection: str = "") -> Entry:
        """Store a message."""
        self.last_seq += 1
        entry = Entry(self.last_seq, json.dumps({"type": "Chat", "seq": self.last_seq}), connection)
        self.entries[self.last_seq] = entry
        return entry

    def come(self, name: str) -> Transition:
        """Store that somebody has come."""
        self.roster[name] = name
        self.presence_version += 1
        return Transition(1, self.presence_version, name, name, "joined")

    def go(self, name: str) -> Transition:
        """Store that somebody has gone."""
        del self.roster[name]
        self.presence_version += 1
        return Transition(1, self.presence_version, name, name, "left")

    @property
    def row(self) -> Room:
        """The row."""
        return Room(
            pk=1,
            slug="room",
            anonymous_may_read=self.anonymous_may_read,
            last_seq=self.last_seq,
            access_version=self.access_version,
            presence_version=self.presence_version,
            closings=self.closings,
        )

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Answer a read, in a later turn of the event loop."""
        self.reads.append(function.__name__)
        await asyncio.sleep(0)
        if not self.exists:
            raise Room.DoesNotExist
        if self.failures:
            self.failures -= 1
            raise OperationalError("the database is away")
        answers = {
            read_tail: self._tail,
            read_between: self._between,
            read_access: self._access,
            read_presence: self._presence,
        }
        answer = answers[function](*args)
        self.meanwhile(function.__name__)
        return answer

    def _tail(self, _: int, slug: str, after: int) -> Tail:
        return self._between(1, slug, after, self.last_seq)

    def _between(self, _: int, slug: str, after: int, upto: int) -> Tail:
        return Tail([e for seq, e in self.entries.items() if after < seq <= upto], upto, self.last_seq)

    def _access(self, _: int, people: set[Person]) -> tuple[Room, dict[str, Standing]]:
        return self.row, {
            person.key: standing_from(person.user, self.roles.get(person.user_id or 0)) for person in people
        }

    def _presence(self, _: int) -> tuple[int, dict[str, str]]:
        return self.presence_version, dict(self.roster)


class Listener:
    """A member that writes down what it gets."""

    def __init__(
        self, fanout: RoomFanout, name: str, user: Any = None, standing: Standing = Standing.ANONYMOUS
    ) -> None:
        self.fanout = fanout
        self.got: list[dict[str, Any]] = []
        self.is_out = False
        self._news = asyncio.Event()
        person = Person(f"key-{name}", name, user or AnonymousUser())
        self.member = Member(name, person, standing, fanout.room.access_version, self._send, self._expelled)

    def _send(self, shared: SharedMessage) -> None:
        self.got.append(json.loads(shared.text or ""))
        self._news.set()

    def _expelled(self, _: Member) -> None:
        self.is_out = True
        self._news.set()

    @property
    def seqs(self) -> list[int]:
        """The numbers of the messages that it got."""
        return [message["seq"] for message in self.got if message["type"] == "Chat"]

    async def join(self, at: int) -> None:
        """Join with everything up to number ``at`` in ``Joined``."""
        self.fanout.enter(self.member)
        await self.fanout.names_for(self.member)
        await self.fanout.settle(self.member, at)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what it got fulfils a condition."""
        while not condition():
            self._news.clear()
            await self._news.wait()


@pytest.fixture
def room() -> FakeRoom:
    """A room."""
    return FakeRoom()


@pytest.fixture
async def fanout(room: FakeRoom) -> AsyncIterator[RoomFanout]:
    """The room's fan-out, which waits next to nothing before it mends."""
    with override_settings(REALTIME_ROOMS={"grace": 0.001, "tail_check": 0.001}):
        reader: Any = room
        fanout = RoomFanout(room.row, reader)
        yield fanout
        fanout.close()


@pytest.fixture
async def ann(fanout: RoomFanout) -> Listener:
    """A member that is live from the beginning."""
    ann = Listener(fanout, "ann")
    await ann.join(0)
    return ann


async def test_messages_are_passed_on_in_order_and_without_reading(ann: Listener, room: FakeRoom) -> None:
    first, second, third = room.say(), room.say(), room.say()
    room.reads.clear()
    ann.fanout.offer([first], 1)
    ann.fanout.offer([third, second, third], 1)
    ann.fanout.offer([first], 1)
    assert ann.seqs == [1, 2, 3]
    assert room.reads == []


async def test_a_lost_message_is_read_when_a_later_one_shows_the_gap(ann: Listener, room: FakeRoom) -> None:
    room.say()
    ann.fanout.offer([room.say()], 1)
    assert ann.seqs == []
    await ann.until(lambda: ann.seqs == [1, 2])


async def test_a_lost_tail_is_read_when_the_counters_show_it(ann: Listener, room: FakeRoom) -> None:
    room.say()
    room.say()
    ann.fanout.compare(room.row)
    await ann.until(lambda: ann.seqs == [1, 2])


async def test_a_message_that_arrives_while_it_is_being_read_is_passed_on_once(ann: Listener, room: FakeRoom) -> None:
    lost, late = room.say(), room.say()
    room.meanwhile = lambda kind: ann.fanout.offer([lost], 1) if kind == "read_tail" else None
    ann.fanout.offer([late], 1)
    await ann.until(lambda: ann.seqs == [1, 2])
    ann.fanout.offer([lost, late, room.say()], 1)
    assert ann.seqs == [1, 2, 3]


async def test_a_hidden_message_is_no_gap_for_ever(ann: Listener, room: FakeRoom) -> None:
    del room.entries[room.say().seq]
    ann.fanout.offer([room.say()], 1)
    await ann.until(lambda: ann.seqs == [2])


async def test_a_database_that_is_away_delays_and_loses_nothing(ann: Listener, room: FakeRoom) -> None:
    room.failures = 3
    room.say()
    ann.fanout.compare(room.row)
    await ann.until(lambda: ann.seqs == [1])


async def test_the_authors_own_connection_gets_no_copy_and_its_ack_in_turn(ann: Listener, room: FakeRoom) -> None:
    lost, own = room.say(), room.say("ann")
    acknowledged: list[list[int]] = []
    ann.fanout.acknowledge(own.seq, lambda: acknowledged.append(list(ann.seqs)))
    ann.fanout.offer([own], 1)
    assert acknowledged == []
    ann.fanout.offer([lost], 1)
    assert ann.seqs == [1]
    assert acknowledged == [[1]]


async def test_what_happens_between_reading_history_and_going_live_is_neither_lost_nor_doubled(
    ann: Listener, fanout: RoomFanout, room: FakeRoom
) -> None:
    fanout.offer([room.say(), room.say()], 1)
    late = Listener(fanout, "late")
    fanout.enter(late.member)
    fanout.offer([room.say()], 1)
    # The snapshot was taken after message 3 and before message 4.
    snapshot = room.last_seq
    fanout.offer([room.say()], 1)
    await fanout.settle(late.member, snapshot)
    fanout.offer([room.say()], 1)
    assert late.seqs == [4, 5]
    assert ann.seqs == [1, 2, 3, 4, 5]


async def test_a_member_ahead_of_the_fanout_gets_nothing_twice(
    ann: Listener, fanout: RoomFanout, room: FakeRoom
) -> None:
    unpublished = [room.say(), room.say()]
    late = Listener(fanout, "late")
    await late.join(room.last_seq)
    fanout.offer(unpublished, 1)
    fanout.offer([room.say()], 1)
    assert late.seqs == [3]
    assert ann.seqs == [1, 2, 3]


async def test_members_whose_histories_end_at_different_messages_get_the_rest_of_each(
    fanout: RoomFanout, room: FakeRoom
) -> None:
    slow = Listener(fanout, "slow")
    fanout.enter(slow.member)
    for _ in range(5):
        room.say()
    quick = Listener(fanout, "quick")
    await quick.join(5)
    await fanout.settle(slow.member, 2)
    fanout.offer([room.say()], 1)
    await slow.until(lambda: slow.seqs == [3, 4, 5, 6])
    assert quick.seqs == [6]


async def test_what_is_passed_on_while_a_member_joins_is_read_for_it(
    ann: Listener, fanout: RoomFanout, room: FakeRoom
) -> None:
    late = Listener(fanout, "late")
    fanout.enter(late.member)
    fanout.offer([room.say() for _ in range(120)], 1)
    room.failures = 1
    await fanout.settle(late.member, 0)
    await late.until(lambda: len(late.seqs) >= 120)  # the fanout gives the event loop a turn every few milliseconds
    assert late.seqs == list(range(1, 121))


async def test_messages_that_come_while_a_member_reads_what_it_missed_are_neither_lost_nor_doubled(
    ann: Listener, fanout: RoomFanout, room: FakeRoom
) -> None:
    late = Listener(fanout, "late")
    fanout.enter(late.member)
    fanout.offer([room.say()], 1)
    room.meanwhile = lambda kind: (
        fanout.offer([room.say()], 1) if kind == "read_between" and room.last_seq < 5 else None
    )
    await fanout.settle(late.member, 0)
    fanout.offer([room.say("late"), room.say()], 1)
    assert late.seqs == [1, 2, 3, 4, 5, 7]
    assert ann.seqs == [1, 2, 3, 4, 5, 6, 7]


async def test_events_without_a_number_come_after_joined_unless_joined_contains_them(
    ann: Listener, fanout: RoomFanout, room: FakeRoom
) -> None:
    late = Listener(fanout, "late")
    fanout.enter(late.member)
    fanout.offer_transition(room.come("bob"))
    assert await fanout.names_for(late.member) == ["bob", "late"]
    fanout.offer_transition(room.come("carol"))
    fanout.pass_notice('{"type": "Hidden"}')
    assert late.got == []
    await fanout.settle(late.member, 0)
    fanout.offer_transition(room.go("bob"))
    got = [(message["type"], message.get("user"), message.get("state")) for message in late.got]
    assert got == [("Presence", "carol", "joined"), ("Hidden", None, None), ("Presence", "bob", "left")]


async def test_nothing_said_after_a_removal_reaches_the_removed_member(fanout: RoomFanout, room: FakeRoom) -> None:
    user = User(pk=7)
    room.roles[7] = "member"
    bob = Listener(fanout, "bob", user, Standing.MEMBER)
    await bob.join(0)
    fanout.offer([room.say()], 1)
    del room.roles[7]
    room.access_version = 2
    fanout.offer([room.say()], 2)
    await bob.until(lambda: bob.is_out)
    assert bob.seqs == [1]


async def test_a_member_that_is_put_out_while_joining_gets_nothing_of_what_was_held(
    ann: Listener, fanout: RoomFanout, room: FakeRoom
) -> None:
    late = Listener(fanout, "late")
    fanout.enter(late.member)
    fanout.offer([room.say()], 1)
    room.closings += 1
    room.access_version += 1
    fanout.compare(room.row)
    await late.until(lambda: late.is_out)
    await fanout.settle(late.member, 0)
    assert late.got == []
    assert ann.seqs == [1]


async def test_a_member_admitted_before_a_change_is_looked_up_again(
    ann: Listener, fanout: RoomFanout, room: FakeRoom
) -> None:
    room.access_version = 2
    fanout.offer([room.say()], 2)
    await ann.until(lambda: ann.seqs == [1])
    late = Listener(fanout, "late")
    await late.join(1)
    fanout.offer([room.say()], 2)
    await late.until(lambda: late.seqs == [2])
    assert late.member.access_version == 2


async def test_members_who_stay_get_the_messages_that_waited_for_the_memberships(ann: Listener, room: FakeRoom) -> None:
    room.access_version = 2
    ann.fanout.offer([room.say()], 2)
    assert ann.seqs == []
    await ann.until(lambda: ann.seqs == [1])


async def test_an_anonymous_user_goes_when_the_room_is_closed_to_them(ann: Listener, room: FakeRoom) -> None:
    room.anonymous_may_read = False
    room.access_version += 1
    ann.fanout.recheck()
    await ann.until(lambda: ann.is_out)


async def test_everybody_goes_when_a_room_is_closed(ann: Listener, room: FakeRoom) -> None:
    room.closings += 1
    room.access_version += 1
    ann.fanout.compare(room.row)
    await ann.until(lambda: ann.is_out)


async def test_everybody_goes_with_a_room_that_is_deleted(ann: Listener, room: FakeRoom) -> None:
    room.exists = False
    ann.fanout.recheck()
    await ann.until(lambda: ann.is_out)


async def test_each_arrival_and_departure_reaches_the_other_members_once(ann: Listener, room: FakeRoom) -> None:
    news = [room.come("bob"), room.come("carol"), room.go("bob")]
    for transition in (news[1], news[0], news[2], news[1]):
        ann.fanout.offer_transition(transition)
    got = [(message["user"], message["state"]) for message in ann.got]
    assert got == [("bob", "joined"), ("carol", "joined"), ("bob", "left")]
    assert await ann.fanout.names_for(ann.member) == ["ann", "carol"]


async def test_lost_arrivals_and_departures_are_read_from_the_database(ann: Listener, room: FakeRoom) -> None:
    ann.fanout.offer_transition(room.come("bob"))
    room.come("carol")
    room.go("bob")
    ann.fanout.compare(room.row)
    await ann.until(lambda: len(ann.got) == 3)
    got = [(message["user"], message["state"]) for message in ann.got]
    assert got == [("bob", "joined"), ("bob", "left"), ("carol", "joined")]
    assert await ann.fanout.names_for(ann.member) == ["ann", "carol"]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_the_layer_does_every_member_gets_everything_once(
    fanout: RoomFanout, room: FakeRoom, seed: int
) -> None:
    chance = random.Random(seed)
    members: list[tuple[int, Listener]] = []
    published: list[Entry] = []
    for number in range(60):
        if number % 12 == 0:
            listener = Listener(fanout, f"member-{number}")
            start = room.last_seq
            await listener.join(start)
            members.append((start, listener))
        published += [room.say()] * chance.choice([0, 1, 1, 2])
        chance.shuffle(published)
        while published and chance.random() < 0.7:
            fanout.offer([published.pop()], 1)
        if chance.random() < 0.2:
            await asyncio.sleep(0)
    fanout.compare(room.row)
    for start, listener in members:
        expected = list(range(start + 1, room.last_seq + 1))
        count = len(expected)
        await listener.until(lambda listener=listener, count=count: len(listener.seqs) >= count)  # type: ignore[misc]
        assert listener.seqs == expected
