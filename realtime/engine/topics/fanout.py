"""The fan-out of one topic in one process: every stored message, once, in order, to every subscriber.

Events of the channel layer may be lost, repeated or reordered. The fan-out orders them, drops repeats, and reads what
is missing from the store: shortly after a later message has arrived, and when the topic's head shows it.

A message carries the version of the rights under which it was stored. When that is newer than the fan-out's,
subscribers are authorized again before the message is passed on.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from django.db import DatabaseError, InterfaceError

from realtime.engine.protocol.messages import SharedMessage
from realtime.engine.services.reorder_buffer import ReorderBuffer
from realtime.engine.topics.limits import limits
from realtime.engine.topics.presence import Presence, Transition
from realtime.engine.topics.store import Entry, Head, TopicGone, TopicStore
from realtime.engine.topics.subscriber import Endpoint, Subscriber

logger = logging.getLogger("realtime.topics")

#: Messages handed to subscribers before the event loop gets a turn: a few milliseconds.
SENDS_PER_TURN = 1000

#: Before every version: what has to be read first.
UNREAD = -1

#: Runs a method of the store, in a thread if it waits for something.
Reader = Callable[..., Awaitable[Any]]

#: Reads who is present, and the version of that; None when nobody is.
PresenceReader = Callable[[str], Awaitable[tuple[int | None, dict[str, Presence]]]]


class TopicFanout:
    """Passes on what happens in a topic, from the moment at which ``head`` was read.

    Args:
        name: name of the topic.
        head: where the topic stands.
        store: the messages of the topic; None for a topic with live messages only.
        reader: runs methods of the store.
        read_presence: reads who is present.

    Attributes:
        name: name of the topic.
        epoch: the numbering of the topic. With another one, every subscriber is ended.
        store: the messages of the topic.
    """

    def __init__(
        self, name: str, head: Head, store: TopicStore[Any] | None, reader: Reader, read_presence: PresenceReader
    ) -> None:
        self.name = name
        self.epoch = head.epoch
        self.store = store
        self._read = reader
        self._presence_reader = read_presence
        self._loop = asyncio.get_running_loop()
        self._subscribers: dict[str, Subscriber] = {}
        self._messages: ReorderBuffer[Entry] = ReorderBuffer(head.seq, limits().held)
        #: Every message up to this number has been passed on.
        self._passed = head.seq
        self._passing_later: asyncio.Handle | None = None
        self._acknowledgements: dict[int, list[Callable[[], None]]] = {}
        #: Who is present, in every process, by key.
        self._present: dict[str, Presence] = {}
        self._transitions: ReorderBuffer[Transition] = ReorderBuffer(UNREAD, limits().held)
        self._presence_in_doubt = False
        #: Nothing is passed on until rights were read that are as new as what is needed.
        self._access_read = self._access_needed = head.access
        self._mending: asyncio.Task[None] | None = None

    # Subscribers

    @property
    def subscribers(self) -> list[Subscriber]:
        """Every subscriber in this process."""
        return list(self._subscribers.values())

    def has(self, subscriber: Subscriber) -> bool:
        """Return whether a subscriber is in the fan-out."""
        return self._subscribers.get(subscriber.connection) is subscriber

    def enter(self, subscriber: Subscriber) -> None:
        """Let a subscriber in. It gets nothing before ``settle()``."""
        subscriber.fanout = self
        self._subscribers[subscriber.connection] = subscriber
        self._access_read = min(self._access_read, subscriber.access)
        self._access_needed = max(self._access_needed, subscriber.access)
        self._mend_if_behind()

    async def present_for(self, subscriber: Subscriber) -> list[Presence]:
        """Return who is present, in any process; changes from now on are news for the subscriber."""
        if self._transitions.last == UNREAD:
            await self._read_presence()
        subscriber.held.clear()
        present = dict(self._present)
        if subscriber.key is not None:
            present.setdefault(subscriber.key, Presence(subscriber.key, subscriber.since, subscriber.metadata))
        return list(present.values())

    async def settle(self, subscriber: Subscriber, position: int) -> None:
        """Send a subscriber what was passed on since it was welcomed, and let it take part from then on.

        Args:
            subscriber: the subscriber, which knows that it is here.
            position: everything up to this number was in its welcome.
        """
        while self.has(subscriber) and position < self._passed:
            assert self.store is not None
            try:
                tail = await self._read(self.store.read_between, self.name, position, self._passed)
            except (DatabaseError, InterfaceError) as error:
                await self._wait_for_store(error)
                continue
            if self.has(subscriber):  # not ended while reading
                for entry in tail.entries:
                    if entry.sender != subscriber.connection:
                        subscriber.send(SharedMessage(text=entry.text))
                position = tail.upto
        if self.has(subscriber):
            subscriber.position = position
            held, subscriber.held = subscriber.held, []
            for shared in held:
                subscriber.send(shared)

    def leave(self, subscriber: Subscriber) -> None:
        """Stop passing anything to a subscriber."""
        if self.has(subscriber):
            del self._subscribers[subscriber.connection]

    def end(self, subscriber: Subscriber) -> None:
        """End a subscriber that may not be here any longer."""
        self.leave(subscriber)
        subscriber.ended(subscriber)

    def end_all(self) -> None:
        """End every subscriber: the topic is gone."""
        for subscriber in self.subscribers:
            self.end(subscriber)

    def close(self) -> None:
        """Stop for good. What waits for an acknowledgement is acknowledged."""
        for waiting in (self._passing_later, self._mending):
            if waiting is not None:
                waiting.cancel()
        self._acknowledge(math.inf)

    # News

    def offer(self, entries: Iterable[Entry], epoch: str, access: int) -> None:
        """Take messages that were stored; in any order, repeated or not."""
        if epoch != self.epoch:
            return  # the next look at the store ends this fan-out
        for entry in entries:
            self._messages.offer(entry.seq, entry)
        self._access_needed = max(self._access_needed, access)
        self._pass_on()
        self._mend_if_behind()

    def offer_transition(self, transition: Transition) -> None:
        """Take the news that a user has come, gone or changed; in any order, repeated or not."""
        self._transitions.offer(transition.version, transition)
        self._pass_on_transitions()
        self._mend_if_behind()

    def pass_notice(self, text: str, sender: str = "") -> None:
        """Pass an encoded message without a number to every subscriber but ``sender``."""
        shared = SharedMessage(text=text)
        for subscriber in self._subscribers.values():
            if subscriber.connection != sender:
                subscriber.notify(shared)

    def recheck(self) -> None:
        """Authorize every subscriber again, and end those who may not be here."""
        self._access_read = UNREAD
        self._mend_if_behind()

    def compare(self, head: Head | None) -> None:
        """Compare with the topic's head, and read what was missed. None: the topic is gone."""
        if head is None or head.epoch != self.epoch:
            self.end_all()
            return
        self._messages.expect(head.seq)
        self._access_needed = max(self._access_needed, head.access)
        self._mend_if_behind()

    def compare_presence(self, version: int | None) -> None:
        """Compare with the topic's presence version, and read what was missed. None: nobody is present."""
        if version is None or version < self._transitions.last:
            self._presence_in_doubt = bool(self._present)
        else:
            self._transitions.expect(version)
        self._mend_if_behind()

    def acknowledge(self, seq: int, acknowledge: Callable[[], None]) -> None:
        """Call ``acknowledge`` when every message up to ``seq`` has been passed on.

        So a client that has seen a number has seen everything before it, and can resume from there.
        """
        if seq <= self._passed:
            acknowledge()
        else:
            self._acknowledgements.setdefault(seq, []).append(acknowledge)

    # Passing on

    def _pass_on(self) -> None:
        if self._passing_later is not None or self._access_read < self._access_needed:
            return
        ready, sends = self._messages.ready, 0
        while ready:
            if sends > SENDS_PER_TURN:
                self._passing_later = self._loop.call_soon(self._pass_on_later)
                break
            entry = ready.popleft()
            shared = SharedMessage(text=entry.text)
            for subscriber in self._subscribers.values():
                if subscriber.position < entry.seq and subscriber.connection != entry.sender:
                    subscriber.send(shared)
            self._passed = entry.seq
            sends += 1 + len(self._subscribers)
        else:
            self._passed = self._messages.last
        if self._acknowledgements:
            self._acknowledge(self._passed)

    def _pass_on_later(self) -> None:
        self._passing_later = None
        self._pass_on()

    def _acknowledge(self, upto: float) -> None:
        for seq in sorted(seq for seq in self._acknowledgements if seq <= upto):
            for acknowledge in self._acknowledgements.pop(seq):
                acknowledge()

    def _pass_on_transitions(self) -> None:
        """Send transitions to the other subscribers, encoded once for each endpoint."""
        while self._transitions.ready:
            transition = self._transitions.ready.popleft()
            known = self._present.pop(transition.key, None)
            if transition.state == "left":
                if known is None:
                    continue
            else:
                self._present[transition.key] = transition.presence
                if known is not None and known.metadata == transition.metadata:
                    continue
            texts: dict[Endpoint, SharedMessage | None] = {}
            for subscriber in self._subscribers.values():
                if subscriber.key == transition.key:
                    continue
                if subscriber.endpoint not in texts:
                    text = subscriber.endpoint.encode_presence(transition)
                    texts[subscriber.endpoint] = None if text is None else SharedMessage(text=text)
                shared = texts[subscriber.endpoint]
                if shared is not None:
                    subscriber.notify(shared)

    # Mending

    @property
    def _is_behind(self) -> bool:
        return self._access_read < self._access_needed or self._messages.is_behind or self._presence_is_behind

    @property
    def _presence_is_behind(self) -> bool:
        return self._transitions.is_behind or self._presence_in_doubt

    def _mend_if_behind(self) -> None:
        if self._mending is None and self._is_behind:
            self._mending = self._loop.create_task(self._mend(), context=contextvars.Context())

    async def _mend(self) -> None:
        try:
            if self._access_read >= self._access_needed:
                await asyncio.sleep(limits().grace)  # What was overtaken may still come.
            while self._is_behind:
                try:
                    await self._read_what_is_missing()
                except (DatabaseError, InterfaceError) as error:
                    await self._wait_for_store(error)
        except TopicGone:
            self.end_all()
        finally:
            self._mending = None

    async def _wait_for_store(self, error: Exception) -> None:
        logger.warning("topic %s cannot be read, its subscribers wait: %s", self.name, error)
        await asyncio.sleep(limits().tail_check)

    async def _read_what_is_missing(self) -> None:
        if self._messages.is_behind:
            assert self.store is not None
            tail = await self._read(self.store.read_tail, self.name, self.epoch, self._messages.last)
            missing = [entry for entry in tail.entries if entry.seq > self._messages.last]
            self._messages.fill(missing, tail.upto)
            self._messages.expect(tail.seq)
            if missing:
                # Rights that are read after these messages are at least as new as each of them.
                self._access_read = UNREAD
        if self._access_read < self._access_needed:
            await self._authorize_again()
        self._pass_on()
        if self._presence_is_behind:
            await self._read_presence()

    async def _authorize_again(self) -> None:
        by_endpoint: dict[Endpoint, list[Subscriber]] = {}
        for subscriber in self.subscribers:
            by_endpoint.setdefault(subscriber.endpoint, []).append(subscriber)
        versions = [
            await endpoint.authorize_subscribers(self, subscribers) for endpoint, subscribers in by_endpoint.items()
        ]
        read = min(versions, default=self._access_needed)
        self._access_needed = max(self._access_needed, read)
        # A subscriber who has come meanwhile may have been authorized before the change.
        self._access_read = min([read, *(subscriber.access for subscriber in self.subscribers)])

    async def _read_presence(self) -> None:
        before = self._transitions.last
        self._presence_in_doubt = False
        version, present = await self._presence_reader(self.name)
        if version is None:
            version = max(before, 0)  # nobody is present
        elif version < before:
            # Nobody was present meanwhile, and the counter has begun again.
            self._transitions = ReorderBuffer(version, limits().held)
        if before == UNREAD:
            self._present = dict(present)
        if version >= self._transitions.last:
            known = self._present
            news = [self._transition(version, "left", user) for key, user in known.items() if key not in present]
            news += [
                self._transition(version, "updated" if key in known else "joined", user)
                for key, user in present.items()
            ]
            self._transitions.fill(news, version)
            self._pass_on_transitions()

    def _transition(self, version: int, state: Any, user: Presence) -> Transition:
        return Transition(self.name, version, state, user.key, user.since, user.metadata)
