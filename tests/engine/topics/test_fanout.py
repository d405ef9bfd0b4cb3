"""A fan-out between a channel layer that loses, repeats and reorders, and a topic that knows everything."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any

import pytest
from django.db import OperationalError
from django.test import override_settings

from realtime.engine import SharedMessage
from realtime.engine.topics.consumer import TopicConsumer
from realtime.engine.topics.fanout import TopicFanout
from realtime.engine.topics.presence import Presence, Transition
from realtime.engine.topics.store import Entry, Head, TopicGone, TopicStore
from realtime.engine.topics.subscriber import Subscriber

NAME = "topic"


class FakeTopic(TopicStore[Any]):
    """A store with one topic, and who is present there."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.epoch = "epoch"
        self.last_seq = 0
        self.access = 1
        #: Connections that may be in the topic; None for all.
        self.allowed: set[str] | None = None
        self.present: dict[str, Presence] = {}
        self.presence_version = 0
        self.exists = True
        self.failures = 0
        self.reads: list[str] = []
        #: Called before a read returns: what happens while a fan-out waits for the store.
        self.meanwhile: Callable[[str], None] = lambda _: None

    def say(self, sender: str = "") -> Entry:
        """Store a message."""
        self.last_seq += 1
        entry = Entry(self.last_seq, json.dumps({"type": "Published", "seq": self.last_seq}), sender)
        self.entries[self.last_seq] = entry
        return entry

    def come(self, name: str, **metadata: Any) -> Transition:
        """Store that somebody has come, or has other metadata."""
        state = "updated" if name in self.present else "joined"
        self.present[name] = Presence(name, 0.0, metadata)
        self.presence_version += 1
        return Transition(NAME, self.presence_version, state, *self.present[name])  # type: ignore[arg-type]

    def go(self, name: str) -> Transition:
        """Store that somebody has gone."""
        self.presence_version += 1
        return Transition(NAME, self.presence_version, "left", *self.present.pop(name))

    @property
    def head(self) -> Head:
        return Head(self.epoch, self.last_seq, self.access)

    async def read(self, function: Callable[..., Any], *args: Any) -> Any:
        """Answer a read, in a later turn of the event loop."""
        name = function.__name__
        self.reads.append(name)
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise OperationalError("the database is away")
        answer = function(*args)
        self.meanwhile(name)
        return answer

    async def read_presence(self, topic: str) -> tuple[int | None, dict[str, Presence]]:
        def answer() -> tuple[int | None, dict[str, Presence]]:
            return (self.presence_version if self.present else None), dict(self.present)

        return await self.read(answer)  # type: ignore[no-any-return]

    def append(self, writes: Sequence[Any]) -> Sequence[Any]:
        raise NotImplementedError

    def heads(self, topics: Collection[str]) -> dict[str, Head]:
        return {NAME: self.head} if self.exists else {}

    def read_after(self, topic: str, after: int, upto: int, limit: int) -> list[Entry]:
        return [entry for seq, entry in self.entries.items() if after < seq <= upto][:limit]

    def read_before(self, topic: str, before: int | None, limit: int) -> list[Entry]:
        raise NotImplementedError

    def keeps(self, topic: str, seq: int) -> bool:
        return seq in self.entries


class Endpoint:
    """What a fan-out asks of consumers, answered by the topic."""

    encode_presence = TopicConsumer.encode_presence

    def __init__(self, topic: FakeTopic) -> None:
        self._topic = topic

    async def authorize_subscribers(self, fanout: TopicFanout, subscribers: Sequence[Subscriber]) -> int:
        def answer() -> tuple[int, set[str] | None]:
            if not self._topic.exists:
                raise TopicGone(NAME)
            return self._topic.access, self._topic.allowed

        access, allowed = await self._topic.read(answer)
        for subscriber in subscribers:
            subscriber.access = max(subscriber.access, access)
            if allowed is not None and subscriber.connection not in allowed and fanout.has(subscriber):
                fanout.end(subscriber)
        return int(access)


class Listener:
    """A subscriber that writes down what it gets."""

    def __init__(self, fanout: TopicFanout, topic: FakeTopic, name: str) -> None:
        self.fanout = fanout
        self.got: list[dict[str, Any]] = []
        self.is_out = False
        self._news = asyncio.Event()
        self.subscriber = Subscriber(name, Endpoint(topic), topic.access, self._send, self._ended, key=name)

    def _send(self, shared: SharedMessage) -> None:
        self.got.append(json.loads(shared.text or ""))
        self._news.set()

    def _ended(self, _: Subscriber) -> None:
        self.is_out = True
        self._news.set()

    @property
    def seqs(self) -> list[int]:
        """The numbers of the messages that it got."""
        return [message["seq"] for message in self.got if message["type"] == "Published"]

    @property
    def news(self) -> list[tuple[str, str]]:
        """Who came and went."""
        return [(message["who"], message["state"]) for message in self.got if message["type"] == "Presence"]

    async def present(self) -> list[str]:
        """Who is there, as its welcome says."""
        return sorted(user.key for user in await self.fanout.present_for(self.subscriber))

    async def join(self, at: int) -> None:
        """Come, with everything up to number ``at`` in the welcome."""
        self.fanout.enter(self.subscriber)
        await self.fanout.present_for(self.subscriber)
        await self.fanout.settle(self.subscriber, at)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what it got fulfils a condition."""
        while not condition():
            self._news.clear()
            await self._news.wait()


@pytest.fixture
def topic() -> FakeTopic:
    """A topic."""
    return FakeTopic()


@pytest.fixture
async def fanout(topic: FakeTopic) -> AsyncIterator[TopicFanout]:
    """The topic's fan-out, which waits next to nothing before it mends."""
    with override_settings(REALTIME_TOPICS={"grace": 0.001, "tail_check": 0.001}):
        fanout = TopicFanout(NAME, topic.head, topic, topic.read, topic.read_presence)
        yield fanout
        fanout.close()


@pytest.fixture
async def ann(fanout: TopicFanout, topic: FakeTopic) -> Listener:
    """A subscriber that is live from the beginning."""
    topic.come("ann")
    ann = Listener(fanout, topic, "ann")
    await ann.join(0)
    return ann


async def test_messages_are_passed_on_in_order_and_without_reading(ann: Listener, topic: FakeTopic) -> None:
    first, second, third = topic.say(), topic.say(), topic.say()
    topic.reads.clear()
    ann.fanout.offer([first], topic.epoch, 1)
    ann.fanout.offer([third, second, third], topic.epoch, 1)
    ann.fanout.offer([first], topic.epoch, 1)
    assert ann.seqs == [1, 2, 3]
    assert topic.reads == []


async def test_a_lost_message_is_read_when_a_later_one_shows_the_gap(ann: Listener, topic: FakeTopic) -> None:
    topic.say()
    ann.fanout.offer([topic.say()], topic.epoch, 1)
    assert ann.seqs == []
    await ann.until(lambda: ann.seqs == [1, 2])


async def test_a_lost_tail_is_read_when_the_counters_show_it(ann: Listener, topic: FakeTopic) -> None:
    topic.say()
    topic.say()
    ann.fanout.compare(topic.head)
    await ann.until(lambda: ann.seqs == [1, 2])


async def test_a_message_that_arrives_while_it_is_being_read_is_passed_on_once(ann: Listener, topic: FakeTopic) -> None:
    lost, late = topic.say(), topic.say()
    topic.meanwhile = lambda kind: ann.fanout.offer([lost], topic.epoch, 1) if kind == "read_tail" else None
    ann.fanout.offer([late], topic.epoch, 1)
    await ann.until(lambda: ann.seqs == [1, 2])
    ann.fanout.offer([lost, late, topic.say()], topic.epoch, 1)
    assert ann.seqs == [1, 2, 3]


async def test_a_hidden_message_is_no_gap_for_ever(ann: Listener, topic: FakeTopic) -> None:
    del topic.entries[topic.say().seq]
    ann.fanout.offer([topic.say()], topic.epoch, 1)
    await ann.until(lambda: ann.seqs == [2])


async def test_a_database_that_is_away_delays_and_loses_nothing(ann: Listener, topic: FakeTopic) -> None:
    topic.failures = 3
    topic.say()
    ann.fanout.compare(topic.head)
    await ann.until(lambda: ann.seqs == [1])


async def test_the_authors_own_connection_gets_no_copy_and_its_ack_in_turn(ann: Listener, topic: FakeTopic) -> None:
    lost, own = topic.say(), topic.say("ann")
    acknowledged: list[list[int]] = []
    ann.fanout.acknowledge(own.seq, lambda: acknowledged.append(list(ann.seqs)))
    ann.fanout.offer([own], topic.epoch, 1)
    assert acknowledged == []
    ann.fanout.offer([lost], topic.epoch, 1)
    assert ann.seqs == [1]
    assert acknowledged == [[1]]


async def test_what_happens_between_reading_history_and_going_live_is_neither_lost_nor_doubled(
    ann: Listener, fanout: TopicFanout, topic: FakeTopic
) -> None:
    fanout.offer([topic.say(), topic.say()], topic.epoch, 1)
    late = Listener(fanout, topic, "late")
    fanout.enter(late.subscriber)
    fanout.offer([topic.say()], topic.epoch, 1)
    # The snapshot was taken after message 3 and before message 4.
    snapshot = topic.last_seq
    fanout.offer([topic.say()], topic.epoch, 1)
    await fanout.settle(late.subscriber, snapshot)
    fanout.offer([topic.say()], topic.epoch, 1)
    assert late.seqs == [4, 5]
    assert ann.seqs == [1, 2, 3, 4, 5]


async def test_a_subscriber_ahead_of_the_fanout_gets_nothing_twice(
    ann: Listener, fanout: TopicFanout, topic: FakeTopic
) -> None:
    unpublished = [topic.say(), topic.say()]
    late = Listener(fanout, topic, "late")
    await late.join(topic.last_seq)
    fanout.offer(unpublished, topic.epoch, 1)
    fanout.offer([topic.say()], topic.epoch, 1)
    assert late.seqs == [3]
    assert ann.seqs == [1, 2, 3]


async def test_subscribers_whose_histories_end_at_different_messages_get_the_rest_of_each(
    fanout: TopicFanout, topic: FakeTopic
) -> None:
    slow = Listener(fanout, topic, "slow")
    fanout.enter(slow.subscriber)
    for _ in range(5):
        topic.say()
    quick = Listener(fanout, topic, "quick")
    await quick.join(5)
    await fanout.settle(slow.subscriber, 2)
    fanout.offer([topic.say()], topic.epoch, 1)
    await slow.until(lambda: slow.seqs == [3, 4, 5, 6])
    assert quick.seqs == [6]


async def test_what_is_passed_on_while_a_subscriber_joins_is_read_for_it(
    ann: Listener, fanout: TopicFanout, topic: FakeTopic
) -> None:
    late = Listener(fanout, topic, "late")
    fanout.enter(late.subscriber)
    fanout.offer([topic.say() for _ in range(120)], topic.epoch, 1)
    topic.failures = 1
    await fanout.settle(late.subscriber, 0)
    await late.until(lambda: len(late.seqs) >= 120)  # the fanout gives the event loop a turn every few milliseconds
    assert late.seqs == list(range(1, 121))


async def test_messages_that_come_while_a_subscriber_reads_what_it_missed_are_neither_lost_nor_doubled(
    ann: Listener, fanout: TopicFanout, topic: FakeTopic
) -> None:
    late = Listener(fanout, topic, "late")
    fanout.enter(late.subscriber)
    fanout.offer([topic.say()], topic.epoch, 1)
    topic.meanwhile = lambda kind: (
        fanout.offer([topic.say()], topic.epoch, 1) if kind == "read_between" and topic.last_seq < 5 else None
    )
    await fanout.settle(late.subscriber, 0)
    fanout.offer([topic.say("late"), topic.say()], topic.epoch, 1)
    assert late.seqs == [1, 2, 3, 4, 5, 7]
    assert ann.seqs == [1, 2, 3, 4, 5, 6, 7]


async def test_events_without_a_number_come_after_joined_unless_joined_contains_them(
    ann: Listener, fanout: TopicFanout, topic: FakeTopic
) -> None:
    late = Listener(fanout, topic, "late")
    fanout.enter(late.subscriber)
    fanout.offer_transition(topic.come("bob"))
    assert await late.present() == ["ann", "bob", "late"]
    fanout.offer_transition(topic.come("carol"))
    fanout.pass_notice('{"type": "Hidden"}')
    assert late.got == []
    await fanout.settle(late.subscriber, 0)
    fanout.offer_transition(topic.go("bob"))
    got = [(message["type"], message.get("who"), message.get("state")) for message in late.got]
    assert got == [("Presence", "carol", "joined"), ("Hidden", None, None), ("Presence", "bob", "left")]


async def test_nothing_said_after_a_removal_reaches_the_removed_subscriber(
    fanout: TopicFanout, topic: FakeTopic
) -> None:
    bob = Listener(fanout, topic, "bob")
    await bob.join(0)
    fanout.offer([topic.say()], topic.epoch, 1)
    topic.allowed = set()
    topic.access = 2
    fanout.offer([topic.say()], topic.epoch, 2)
    await bob.until(lambda: bob.is_out)
    assert bob.seqs == [1]


async def test_a_subscriber_that_is_put_out_while_joining_gets_nothing_of_what_was_held(
    ann: Listener, fanout: TopicFanout, topic: FakeTopic
) -> None:
    late = Listener(fanout, topic, "late")
    fanout.enter(late.subscriber)
    fanout.offer([topic.say()], topic.epoch, 1)
    topic.allowed = {"ann"}
    topic.access += 1
    fanout.compare(topic.head)
    await late.until(lambda: late.is_out)
    await fanout.settle(late.subscriber, 0)
    assert late.got == []
    assert ann.seqs == [1]


async def test_a_subscriber_admitted_before_a_change_is_looked_up_again(
    ann: Listener, fanout: TopicFanout, topic: FakeTopic
) -> None:
    topic.access = 2
    fanout.offer([topic.say()], topic.epoch, 2)
    await ann.until(lambda: ann.seqs == [1])
    late = Listener(fanout, topic, "late")
    await late.join(1)
    fanout.offer([topic.say()], topic.epoch, 2)
    await late.until(lambda: late.seqs == [2])
    assert late.subscriber.access == 2


async def test_subscribers_who_stay_get_the_messages_that_waited_for_the_rights(
    ann: Listener, topic: FakeTopic
) -> None:
    topic.access = 2
    ann.fanout.offer([topic.say()], topic.epoch, 2)
    assert ann.seqs == []
    await ann.until(lambda: ann.seqs == [1])


async def test_a_subscriber_goes_that_may_not_be_here_any_more(ann: Listener, topic: FakeTopic) -> None:
    topic.allowed = {"bob"}
    ann.fanout.recheck()
    await ann.until(lambda: ann.is_out)


async def test_everybody_goes_when_a_topic_begins_a_new_numbering(ann: Listener, topic: FakeTopic) -> None:
    topic.epoch = "another"
    ann.fanout.offer([topic.say()], topic.epoch, 1)
    assert ann.got == []
    ann.fanout.compare(topic.head)
    await ann.until(lambda: ann.is_out)


async def test_everybody_goes_when_a_gap_cannot_be_filled_from_the_same_numbering(
    ann: Listener, topic: FakeTopic
) -> None:
    topic.say()
    ann.fanout.offer([topic.say()], "epoch", 1)
    topic.epoch = "another"
    await ann.until(lambda: ann.is_out)
    assert ann.seqs == []


async def test_everybody_goes_with_a_topic_that_is_deleted(ann: Listener, topic: FakeTopic) -> None:
    topic.exists = False
    ann.fanout.recheck()
    await ann.until(lambda: ann.is_out)


async def test_each_arrival_and_departure_reaches_the_other_subscribers_once(ann: Listener, topic: FakeTopic) -> None:
    news = [topic.come("bob"), topic.come("carol"), topic.go("bob")]
    for transition in (news[1], news[0], news[2], news[1]):
        ann.fanout.offer_transition(transition)
    assert ann.news == [("bob", "joined"), ("carol", "joined"), ("bob", "left")]
    assert await ann.present() == ["ann", "carol"]


async def test_lost_arrivals_and_departures_are_read_from_the_rows(ann: Listener, topic: FakeTopic) -> None:
    ann.fanout.offer_transition(topic.come("bob"))
    topic.come("carol")
    topic.go("bob")
    ann.fanout.compare_presence(topic.presence_version)
    await ann.until(lambda: len(ann.got) == 3)
    assert ann.news == [("bob", "joined"), ("bob", "left"), ("carol", "joined")]
    assert await ann.present() == ["ann", "carol"]


async def test_other_metadata_are_news_for_the_others_once(ann: Listener, topic: FakeTopic) -> None:
    for transition in (topic.come("bob"), topic.come("bob", colour="red"), topic.come("bob", colour="red")):
        ann.fanout.offer_transition(transition)
    assert ann.news == [("bob", "joined"), ("bob", "updated")]
    assert ann.got[-1]["metadata"] == {"colour": "red"}


async def test_lost_metadata_are_read_from_the_rows(ann: Listener, topic: FakeTopic) -> None:
    ann.fanout.offer_transition(topic.come("bob"))
    topic.come("bob", colour="red")
    ann.fanout.compare_presence(topic.presence_version)
    await ann.until(lambda: len(ann.news) == 2)
    assert ann.news == [("bob", "joined"), ("bob", "updated")]


async def test_everybody_is_gone_when_the_topic_has_no_presence_any_more(ann: Listener, topic: FakeTopic) -> None:
    ann.fanout.offer_transition(topic.come("bob"))
    topic.go("bob")
    topic.go("ann")
    ann.fanout.compare_presence(None)
    await ann.until(lambda: ("bob", "left") in ann.news)


async def test_the_first_one_to_come_to_a_topic_without_anybody_is_news(fanout: TopicFanout, topic: FakeTopic) -> None:
    viewer = Listener(fanout, topic, "viewer")
    await viewer.join(0)
    topic.presence_version = 1_700_000_000_000
    fanout.offer_transition(topic.come("bob"))
    await viewer.until(lambda: viewer.news == [("bob", "joined")])


async def test_a_counter_that_has_begun_again_is_followed(ann: Listener, topic: FakeTopic) -> None:
    for _ in range(5):
        ann.fanout.offer_transition(topic.come("bob"))
        ann.fanout.offer_transition(topic.go("bob"))
    topic.presence_version = 1
    topic.present["carol"] = Presence("carol", 0.0, {})
    ann.fanout.compare_presence(topic.presence_version)
    await ann.until(lambda: ann.news[-1] == ("carol", "joined"))
    ann.fanout.offer_transition(topic.come("dave"))
    assert ann.news[-1] == ("dave", "joined")


async def test_a_notice_reaches_every_subscriber_but_its_sender(
    ann: Listener, fanout: TopicFanout, topic: FakeTopic
) -> None:
    bob = Listener(fanout, topic, "bob")
    await bob.join(0)
    fanout.pass_notice('{"type": "Notice"}', "bob")
    assert [message["type"] for message in ann.got] == ["Notice"]
    assert bob.got == []


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_the_layer_does_every_subscriber_gets_everything_once(
    fanout: TopicFanout, topic: FakeTopic, seed: int
) -> None:
    chance = random.Random(seed)
    listeners: list[tuple[int, Listener]] = []
    published: list[Entry] = []
    for number in range(60):
        if number % 12 == 0:
            listener = Listener(fanout, topic, f"listener-{number}")
            start = topic.last_seq
            await listener.join(start)
            listeners.append((start, listener))
        published += [topic.say()] * chance.choice([0, 1, 1, 2])
        chance.shuffle(published)
        while published and chance.random() < 0.7:
            fanout.offer([published.pop()], topic.epoch, 1)
        if chance.random() < 0.2:
            await asyncio.sleep(0)
    fanout.compare(topic.head)
    for start, listener in listeners:
        expected = list(range(start + 1, topic.last_seq + 1))
        count = len(expected)
        await listener.until(lambda listener=listener, count=count: len(listener.seqs) >= count)  # type: ignore[misc]
        assert listener.seqs == expected
