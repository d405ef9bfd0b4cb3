"""What a topic remembers: messages in one order, which subscribers resume from.

A store is synchronous. One that waits for a database runs in database threads.
"""

from __future__ import annotations

import abc
import datetime
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from msgspec import Meta, Struct

from realtime.engine.protocol.errors import MessageRefused
from realtime.engine.topics.limits import MAX_NAME, MAX_SEQ, limits

__all__ = [
    "Entry",
    "Head",
    "Position",
    "Recovery",
    "Stored",
    "Tail",
    "TopicGone",
    "TopicStore",
    "Write",
]

#: Messages that are read at once to fill a gap.
TAIL_PAGE = 500

Seq = Annotated[int, Meta(ge=0, le=MAX_SEQ)]


class TopicGone(MessageRefused):
    """The topic is not in its store, or has begun a new numbering.

    Args:
        topic: name of the topic.
    """

    def __init__(self, topic: str) -> None:
        super().__init__("unknown_topic", f"There is no topic {topic[:MAX_NAME]!r}.")


class Position(Struct, frozen=True):
    """How far a client has read: the numbering, and the last number seen in it."""

    epoch: str
    seq: Seq


class Head(NamedTuple):
    """Where a topic stands.

    Args:
        epoch: identity of the numbering; a topic that is made anew has another one.
        seq: number of the newest message, 0 for none.
        access: version of the rights in the topic. It rises with each change that may take a right away.
    """

    epoch: str
    seq: int
    access: int = 0


class Entry(NamedTuple):
    """One message as subscribers get it.

    Args:
        seq: its number.
        text: the encoded message.
        sender: the connection that sent it, which gets no copy; empty for none.
    """

    seq: int
    text: str
    sender: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A message that is in the store.

    Args:
        epoch: the numbering of its topic.
        seq: its number.
        at: when it was stored.
        text: what subscribers get.
        access: version of the rights at the moment of storing.
        is_repeat: whether it was there already.
    """

    epoch: str
    seq: int
    at: datetime.datetime
    text: str
    access: int = 0
    is_repeat: bool = False


class Tail(NamedTuple):
    """Messages after a number.

    Args:
        entries: in order; messages that nobody may see any more are missing.
        upto: the number up to which ``entries`` are complete.
        seq: the topic's newest number.
    """

    entries: list[Entry]
    upto: int
    seq: int


class Recovery(NamedTuple):
    """What a coming subscriber gets.

    Args:
        head: everything up to ``head.seq`` is settled by ``entries``; what comes later is live. Nothing in it was
            stored under a newer ``head.access``.
        entries: oldest first.
        recovered: whether they are exactly what came after the subscriber's position.
    """

    head: Head
    entries: list[Entry]
    recovered: bool


class Write(Protocol):
    """What every store has to know of a message that it stores."""

    @property
    def topic(self) -> str:
        """Name of the topic."""

    @property
    def sender(self) -> str:
        """The connection that sends it, which gets no copy; empty for none."""


W = TypeVar("W", bound=Write)


class TopicStore(abc.ABC, Generic[W]):
    """The messages of topics. A subclass stores them; what follows from that is here.

    Numbers of a topic go up by one, and messages become visible in the order of their numbers: a reader that sees a
    head sees every message up to it. A number that is missing below belongs to a message that was removed or hidden.

    Attributes:
        blocks: whether methods wait for something, such as a database, and so run in a thread.
        is_shared: whether every process sees the same messages.
        not_stored: the outcome of a message whose batch could not be stored.
        not_stored_yet: the outcome of a message that was not stored within ``write_timeout``.
    """

    blocks: ClassVar[bool] = True
    is_shared: ClassVar[bool] = True
    not_stored: ClassVar[Any] = MessageRefused("internal", "The message could not be stored. Send it again.")
    not_stored_yet: ClassVar[Any] = MessageRefused("internal", "The message is not stored yet.")

    @abc.abstractmethod
    def append(self, writes: Sequence[W]) -> Sequence[Any]:
        """Store messages in one transaction.

        Returns:
            One outcome for each, in order: ``Stored``, or whatever says why it was refused.
        """

    @abc.abstractmethod
    def heads(self, topics: Collection[str]) -> dict[str, Head]:
        """Return where topics stand, without those that are not in the store."""

    @abc.abstractmethod
    def read_after(self, topic: str, after: int, upto: int, limit: int) -> list[Entry]:
        """Return at most ``limit`` messages with numbers over ``after`` and not over ``upto``, oldest first."""

    @abc.abstractmethod
    def read_before(self, topic: str, before: int | None, limit: int) -> list[Entry]:
        """Return the last ``limit`` messages with numbers under ``before``, or the newest, oldest first."""

    @abc.abstractmethod
    def keeps(self, topic: str, seq: int) -> bool:
        """Return whether the message with a number is kept, also if nobody may see it."""

    def raise_access(self, topic: str) -> None:
        """Raise the version of the rights in a topic; a store without such versions does nothing."""

    def open(self, topic: str) -> Head:
        """Return where a topic stands; a store that makes topics by their first use makes it.

        Raises:
            TopicGone: if there is no such topic.
        """
        head = self.heads([topic]).get(topic)
        if head is None:
            raise TopicGone(topic)
        return head

    def read_between(self, topic: str, after: int, upto: int) -> Tail:
        """Return a page of the messages with numbers over ``after`` and not over ``upto``."""
        entries = self.read_after(topic, after, upto, TAIL_PAGE)
        return Tail(entries, upto if len(entries) < TAIL_PAGE else entries[-1].seq, upto)

    def read_tail(self, topic: str, epoch: str, after: int) -> Tail:
        """Return a page of the messages with numbers over ``after`` in the numbering ``epoch``.

        Raises:
            TopicGone: if there is no such topic, or its numbering is another one.
        """
        head = self.open(topic)
        if head.epoch != epoch:
            raise TopicGone(topic)
        return self.read_between(topic, after, head.seq)

    def recover(self, topic: str, since: Position | None) -> Recovery:
        """Return what a subscriber gets that comes now.

        Args:
            topic: name of the topic.
            since: how far the subscriber had read; None for a new one.

        Raises:
            TopicGone: if there is no such topic.
        """
        head = self.open(topic)
        if since is not None and self._can_resume(topic, head, since):
            missed = self.read_after(topic, since.seq, head.seq, limits().resume)
            return Recovery(head, missed, recovered=True)
        return Recovery(head, self.read_before(topic, head.seq + 1, limits().newest), recovered=False)

    def _can_resume(self, topic: str, head: Head, since: Position) -> bool:
        missed = head.seq - since.seq
        if since.epoch != head.epoch or not 0 <= missed <= limits().resume:
            return False
        # The beginning of a topic may have been removed; what is there has no holes.
        return missed == 0 or self.keeps(topic, since.seq + 1)
