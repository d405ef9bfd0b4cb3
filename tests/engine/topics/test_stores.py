"""What every store promises, and what each one does in its own way."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DataError, OperationalError, connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from realtime.engine import DatabaseStore, MemoryStore, MessageRefused, Position, TopicGone, publish
from realtime.engine.topics.messages import Publication
from realtime.engine.topics.models import Topic, TopicMessage
from realtime.engine.topics.store import Stored, TopicStore

pytestmark = pytest.mark.django_db(transaction=True)

STORES: dict[str, Callable[..., Any]] = {"memory": MemoryStore, "database": DatabaseStore}


@pytest.fixture(params=STORES)
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Makes a store of each kind."""
    return STORES[request.param]


@pytest.fixture
def store(make: Callable[..., Any]) -> Any:
    """A store of each kind."""
    return make()


def publication(data: Any = "hi", topic: str = "topic", **fields: Any) -> Publication:
    return Publication(topic, json.dumps(data), **fields)


def say(store: TopicStore[Any], count: int, topic: str = "topic") -> list[Stored]:
    return [store.append([publication(number, topic)])[0] for number in range(1, count + 1)]


def seqs(entries: Any) -> list[int]:
    return [entry.seq for entry in entries]


def test_messages_get_the_next_numbers_of_their_topics(store: Any) -> None:
    writes = [publication(topic=topic) for topic in ("a", "b", "a", "a")]
    assert seqs(store.append(writes)) == [1, 1, 2, 3]
    assert seqs(store.append([publication(topic="b")])) == [2]
    assert {topic: head.seq for topic, head in store.heads(["a", "b", "c"]).items()} == {"a": 3, "b": 2}


def test_a_message_is_what_its_subscribers_get(store: Any) -> None:
    [stored] = store.append([publication({"votes": 7}, sender="c")])
    text = json.loads(stored.text)
    at = text.pop("at")
    assert text == {"type": "Published", "topic": "topic", "data": {"votes": 7}, "seq": 1}
    assert at.endswith("Z")
    [entry] = store.read_after("topic", 0, 1, 10)
    assert (entry.seq, entry.text, entry.sender) == (1, stored.text, "c")


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
def test_the_same_key_is_the_same_message(store: Any, together: bool) -> None:
    writes = [publication(1, key="k"), publication(2, key="k"), publication(3, key="l"), publication(3), publication(3)]
    outcomes = store.append(writes) if together else [store.append([write])[0] for write in writes]
    assert [(outcome.seq, outcome.is_repeat) for outcome in outcomes] == [
        (1, False),
        (1, True),
        (2, False),
        (3, False),
        (4, False),
    ]
    assert len(store.read_before("topic", None, 10)) == 4
    [elsewhere] = store.append([publication(1, topic="other", key="k")])
    assert not elsewhere.is_repeat


@pytest.mark.parametrize("key", ["k" * 5000, "a\0b", "\ud800", ""], ids=["long", "with a NUL", "half a pair", "empty"])
def test_every_text_is_a_key(store: Any, key: str) -> None:
    outcomes = store.append([publication(1, key=key), publication(2, key=key)])
    assert [outcome.is_repeat for outcome in outcomes] == [False, True]


def test_pages_of_messages(store: Any) -> None:
    say(store, 10)
    assert seqs(store.read_after("topic", 3, 7, 100)) == [4, 5, 6, 7]
    assert seqs(store.read_after("topic", 3, 10, 2)) == [4, 5]
    assert seqs(store.read_before("topic", 8, 3)) == [5, 6, 7]
    assert seqs(store.read_before("topic", None, 3)) == [8, 9, 10]
    assert seqs(store.read_before("topic", None, 100)) == list(range(1, 11))
    assert store.read_before("nowhere", None, 3) == []
    assert store.read_after("nowhere", 0, 9, 3) == []


def test_a_topic_is_made_by_its_first_use_and_only_once(store: Any) -> None:
    head = store.open("topic")
    assert (head.seq, head.access) == (0, 0)
    say(store, 2)
    assert store.open("topic") == (head.epoch, 2, 0)
    assert store.heads(["topic"]) == {"topic": (head.epoch, 2, 0)}


#: id, how far behind the position is (None: no position), whether it is recovered, what the subscriber gets.
RECOVERIES: list[tuple[str, int | None, bool, list[int]]] = [
    ("a new subscriber", None, False, [8, 9, 10]),
    ("nothing missed", 0, True, []),
    ("some missed", 4, True, [7, 8, 9, 10]),
    ("as many as may be missed", 5, True, [6, 7, 8, 9, 10]),
    ("too many missed", 6, False, [8, 9, 10]),
    ("a number that was never given out", -1, False, [8, 9, 10]),
]


@pytest.mark.parametrize(
    ("behind", "recovered", "numbers"), [row[1:] for row in RECOVERIES], ids=[row[0] for row in RECOVERIES]
)
def test_what_a_subscriber_gets_that_comes(store: Any, behind: int | None, recovered: bool, numbers: list[int]) -> None:
    say(store, 10)
    since = None if behind is None else Position(store.open("topic").epoch, 10 - behind)
    with override_settings(REALTIME_TOPICS={"newest": 3, "resume": 5}):
        recovery = store.recover("topic", since)
    assert (recovery.head.seq, recovery.recovered, seqs(recovery.entries)) == (10, recovered, numbers)


def test_another_numbering_is_not_recovered(store: Any) -> None:
    epoch = store.open("topic").epoch
    say(store, 3)
    store.forget("topic")
    say(store, 3)
    assert store.open("topic").epoch != epoch
    assert not store.recover("topic", Position(epoch, 1)).recovered
    with pytest.raises(TopicGone):
        store.read_tail("topic", epoch, 1)


def test_messages_that_are_not_kept_are_not_recovered(make: Callable[..., Any]) -> None:
    store = make(keep=5)
    say(store, 10)
    epoch = store.open("topic").epoch
    assert seqs(store.read_before("topic", None, 100)) == [6, 7, 8, 9, 10]
    assert [store.keeps("topic", seq) for seq in (5, 6, 10, 11)] == [False, True, True, False]
    assert seqs(store.recover("topic", Position(epoch, 5)).entries) == [6, 7, 8, 9, 10]
    assert not store.recover("topic", Position(epoch, 4)).recovered


def test_a_tail_is_read_in_pages(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.engine.topics.store.TAIL_PAGE", 4)
    say(store, 10)
    epoch = store.open("topic").epoch
    first = store.read_tail("topic", epoch, 3)
    assert (seqs(first.entries), first.upto, first.seq) == ([4, 5, 6, 7], 7, 10)
    last = store.read_tail("topic", epoch, 7)
    assert (seqs(last.entries), last.upto, last.seq) == ([8, 9, 10], 10, 10)


def test_the_version_of_the_rights_goes_with_each_message(store: Any) -> None:
    store.raise_access("topic")
    assert store.append([publication()])[0].access == 1
    store.raise_access("topic")
    assert store.open("topic").access == 2
    assert store.append([publication()])[0].access == 2


def test_threads_that_publish_at_the_same_time_share_the_numbers(store: Any) -> None:
    outcomes: list[Stored] = []

    def work() -> None:
        for _ in range(10):
            outcomes.extend(store.append([publication(), publication()]))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seqs(outcomes)) == list(range(1, 81))


def test_a_format_of_ones_own(make: Callable[..., Any]) -> None:
    class Plain(make):  # type: ignore[misc, valid-type]
        def encode(self, publication: Publication, seq: int, at: Any) -> str:
            return f"{seq}:{publication.data}"

    store = Plain()
    assert store.append([publication("hi")])[0].text == '1:"hi"'
    assert store.read_before("topic", None, 1)[0].text == '1:"hi"'


def test_memory_forgets_the_topic_that_was_used_least_recently() -> None:
    store = MemoryStore(topics=2)
    epoch = store.open("a").epoch
    store.open("b")
    store.heads(["a"])
    store.open("c")
    assert set(store.heads(["a", "b", "c"])) == {"a", "c"}
    assert store.open("a").epoch == epoch


def test_a_batch_in_the_database_costs_as_many_queries_as_one_message() -> None:
    store = DatabaseStore()
    with CaptureQueriesContext(connection) as one:
        store.append([publication(key="a")])
    with CaptureQueriesContext(connection) as many:
        store.append([publication(key=str(number)) for number in range(50)])
    assert len(many) == len(one)


def test_the_database_keeps_a_tenth_more_at_most() -> None:
    store = DatabaseStore(keep=20)
    counts = set()
    for _ in range(60):
        store.append([publication()])
        counts.add(TopicMessage.objects.count())
    assert max(counts) <= 22
    everything = DatabaseStore(keep=None)
    everything.append([publication(topic="all") for _ in range(60)])
    assert TopicMessage.objects.filter(topic__name="all").count() == 60


def test_what_a_transaction_rolls_back_is_not_in_the_database() -> None:
    store = DatabaseStore()
    with transaction.atomic():
        store.append([publication()])
        transaction.set_rollback(True)
    assert not Topic.objects.exists()
    assert seqs(store.append([publication()])) == [1]


class Failing(DatabaseStore):
    """Fails once, before or after the transaction, and for messages that say so."""

    def __init__(self, *, committed: bool | None = None) -> None:
        super().__init__()
        self._committed = committed

    def store(self, writes: Any, perhaps_stored: Any) -> list[Stored]:
        if any("refused" in write.data for write in writes):
            raise DataError("value too long")
        committed, self._committed = self._committed, None
        if committed is None:
            return super().store(writes, perhaps_stored)
        if committed:
            super().store(writes, perhaps_stored)
        raise OperationalError("server closed the connection unexpectedly")


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("key", ["k", None])
def test_a_lost_connection_neither_loses_nor_doubles_a_message(committed: bool, key: str | None) -> None:
    assert seqs(Failing(committed=committed).append([publication(key=key)])) == [1]
    assert TopicMessage.objects.count() == 1


def test_a_lost_connection_in_a_callers_transaction_is_the_callers() -> None:
    with pytest.raises(OperationalError), transaction.atomic():
        Failing(committed=False).append([publication()])


def test_a_message_that_the_database_refuses_is_an_error_for_its_publisher(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(MessageRefused) as caught:
        publish("topic", "refused", store=Failing())
    assert caught.value.code == "internal"
    assert publish("topic", "hi", store=Failing()).seq == 1  # type: ignore[union-attr]


def test_one_message_that_the_database_refuses_does_not_touch_the_others(caplog: pytest.LogCaptureFixture) -> None:
    store = Failing()
    outcomes = store.append([publication(1), publication("refused"), publication(2)])
    assert [getattr(outcome, "seq", None) for outcome in outcomes] == [1, None, 2]
    assert outcomes[1] is store.not_stored
    assert "refused a message for topic" in caplog.text
