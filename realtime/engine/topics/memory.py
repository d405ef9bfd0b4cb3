"""``MemoryStore``: the newest messages of topics, in the memory of one process."""

from __future__ import annotations

import collections
import datetime
import threading
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from django.utils import timezone

from realtime.engine.topics.messages import Publication, encode_published
from realtime.engine.topics.store import Entry, Head, Stored, TopicStore

__all__ = ["MemoryStore"]


@dataclass(slots=True)
class _Topic:
    epoch: str = field(default_factory=lambda: uuid.uuid4().hex)
    seq: int = 0
    access: int = 0
    #: The newest messages with their keys, in order.
    kept: collections.deque[tuple[Stored, Publication]] = field(default_factory=collections.deque)
    by_key: dict[str, Stored] = field(default_factory=dict)

    @property
    def head(self) -> Head:
        return Head(self.epoch, self.seq, self.access)


class MemoryStore(TopicStore[Publication]):
    """Keeps the newest messages of each topic until the process ends.

    For one process alone: where the channel layer joins several, subscribing raises ``RuntimeError``. After a restart
    every topic has another epoch, so that clients get ``recovered: false`` and not messages of another numbering.
    A message is kept at once, also if the transaction around it is rolled back.

    Args:
        keep: messages of one topic; a repeat is recognized among them.
        topics: topics. The one that was used least recently is forgotten; one with subscribers counts as used.
    """

    blocks: ClassVar[bool] = False
    is_shared: ClassVar[bool] = False

    def __init__(self, *, keep: int = 100, topics: int = 10_000) -> None:
        self._keep = keep
        self._capacity = topics
        self._topics: collections.OrderedDict[str, _Topic] = collections.OrderedDict()
        #: Views publish from threads of their own.
        self._lock = threading.Lock()

    def encode(self, publication: Publication, seq: int, at: datetime.datetime) -> str:
        """Return what subscribers get of a message; override it for a format of your own."""
        return encode_published(publication.topic, publication.data, at, seq)

    def append(self, writes: Sequence[Publication]) -> Sequence[Stored]:
        """Keep messages."""
        now = timezone.now()
        with self._lock:
            return [self._append(publication, self._use(publication.topic), now) for publication in writes]

    def heads(self, topics: Collection[str]) -> dict[str, Head]:
        """Return where topics stand; they count as used."""
        with self._lock:
            return {name: self._use(name).head for name in topics if name in self._topics}

    def open(self, topic: str) -> Head:
        """Return where a topic stands; a new one is made."""
        with self._lock:
            return self._use(topic).head

    def raise_access(self, topic: str) -> None:
        """Raise the version of the rights in a topic."""
        with self._lock:
            self._use(topic).access += 1

    def read_after(self, topic: str, after: int, upto: int, limit: int) -> list[Entry]:
        """Return the messages with numbers over ``after`` and not over ``upto``."""
        return [entry for entry in self._entries(topic) if after < entry.seq <= upto][:limit]

    def read_before(self, topic: str, before: int | None, limit: int) -> list[Entry]:
        """Return the last messages with numbers under ``before``, or the newest."""
        found = [entry for entry in self._entries(topic) if before is None or entry.seq < before]
        return found[max(0, len(found) - limit) :]

    def keeps(self, topic: str, seq: int) -> bool:
        """Return whether a message is among the newest."""
        return any(entry.seq == seq for entry in self._entries(topic))

    def forget(self, topic: str) -> None:
        """Forget a topic. Its subscribers are ended."""
        with self._lock:
            self._topics.pop(topic, None)

    def _entries(self, topic: str) -> list[Entry]:
        with self._lock:
            kept = list(self._topics[topic].kept) if topic in self._topics else []
        return [Entry(stored.seq, stored.text, publication.sender) for stored, publication in kept]

    def _use(self, name: str) -> _Topic:
        topic = self._topics.setdefault(name, _Topic())
        self._topics.move_to_end(name)
        if len(self._topics) > self._capacity:
            self._topics.popitem(last=False)
        return topic

    def _append(self, publication: Publication, topic: _Topic, now: datetime.datetime) -> Stored:
        known = topic.by_key.get(publication.identity)
        if known is not None:
            return Stored(known.epoch, known.seq, known.at, known.text, topic.access, is_repeat=True)
        topic.seq += 1
        text = self.encode(publication, topic.seq, now)
        stored = Stored(topic.epoch, topic.seq, now, text, topic.access)
        topic.kept.append((stored, publication))
        topic.by_key[publication.identity] = stored
        if len(topic.kept) > self._keep:
            _, oldest = topic.kept.popleft()
            del topic.by_key[oldest.identity]
        return stored
