"""The subscriptions of one connection."""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from django.utils import timezone

from realtime.engine.protocol.errors import MessageRefused
from realtime.engine.topics import events
from realtime.engine.topics.hub import current_hub
from realtime.engine.topics.limits import MAX_KEY, MAX_NAME, limits
from realtime.engine.topics.messages import Publication, encode_data, encode_published
from realtime.engine.topics.presence import Presence, plain_metadata
from realtime.engine.topics.store import Entry, Head, Position, Recovery, Stored, TopicGone
from realtime.engine.topics.subscriber import Subscriber

if TYPE_CHECKING:
    from realtime.engine.topics.consumer import TopicConsumer

__all__ = ["Subscription", "Subscriptions"]

#: What a channel-layer group may be called.
_NAME = re.compile("[-a-zA-Z0-9_.]{1," + str(MAX_NAME) + "}")


class Subscription(NamedTuple):
    """What a client gets that has just subscribed.

    Args:
        topic: name of the topic.
        head: position of the newest message that is settled by ``entries``; what comes later follows.
        recovered: whether ``entries`` are exactly what came after the client's position.
        entries: the messages, oldest first.
        present: who is in the topic, in every process.
        subscriber: the client.
    """

    topic: str
    head: Head
    recovered: bool
    entries: list[Entry]
    present: list[Presence]
    subscriber: Subscriber


class Subscriptions(Mapping[str, Subscriber]):
    """The topics that one connection is subscribed to, by name.

    Args:
        consumer: the consumer of the connection.
    """

    def __init__(self, consumer: TopicConsumer) -> None:
        self._consumer = consumer
        self._subscribers: dict[str, Subscriber] = {}
        self._pending = asyncio.Semaphore(limits().pending_writes)
        #: Messages that wait for the store, and whose author has got an error.
        self._late: set[object] = set()

    def __getitem__(self, topic: str) -> Subscriber:
        return self._subscribers[topic]

    def __iter__(self) -> Iterator[str]:
        return iter(self._subscribers)

    def __len__(self) -> int:
        return len(self._subscribers)

    # Coming and going

    async def subscribe(
        self, topic: str, *, since: Position | None = None, presence: Mapping[str, Any] | None = None
    ) -> None:
        """Subscribe the connection to a topic; once more begins anew. ``on_subscribed()`` lets the client know.

        Args:
            topic: name of the topic: at most 80 letters, digits, ``-``, ``_`` and ``.``.
            since: how far the client has read, if it comes back.
            presence: metadata by which the others see the client, at most 1,024 bytes of JSON; None: they do not.

        Raises:
            MessageRefused: if ``authorize_topic()`` refuses, or the metadata take more (``too_large``).
            TopicGone: if the name is not valid, or the store has no such topic; it is a ``MessageRefused``, too.
            DatabaseError: if the store is away.
        """
        if _NAME.fullmatch(topic) is None:
            raise TopicGone(topic)
        metadata = plain_metadata(presence or {})
        consumer, hub = self._consumer, current_hub()
        admission = await consumer.open_topic(topic)
        subscriber = Subscriber(
            connection=consumer.connection,
            endpoint=type(consumer),
            access=admission.head.access,
            send=consumer.send_nowait,
            ended=self._ended,
            grant=admission,
            consumer=consumer,
            key=None if presence is None else self._key(),
            metadata=metadata,
            since=time.time(),
        )
        await hub.enter(topic, admission.head, consumer.topic_store, subscriber)
        former = self._subscribers.get(topic)
        if former is not None:
            former.fanout.leave(former)
        self._subscribers[topic] = subscriber
        try:
            if former is not None and former.key not in (None, subscriber.key):
                await hub.leave(former)  # the others see it go
            await consumer.join(topic)
            if subscriber.key is not None:
                await hub.attend(subscriber)
            await self._welcome(subscriber, since)
        except BaseException:
            if self._holds(subscriber):
                del self._subscribers[topic]
            raise
        finally:
            # One that was ended meanwhile may have been put on the list of those present since.
            if not self._holds(subscriber):
                await self._depart(subscriber)

    async def unsubscribe(self, topic: str) -> None:
        """End a subscription. ``on_unsubscribed()`` lets the client know.

        Raises:
            KeyError: if the connection is not subscribed to the topic.
        """
        await self._depart(self._subscribers.pop(topic))
        self._consumer.on_unsubscribed(topic)

    async def recheck(self) -> None:
        """Authorize every subscription again, and end those that are refused."""
        for topic, subscriber in list(self._subscribers.items()):
            try:
                await self._admit_again(subscriber)
            except MessageRefused:
                if self._holds(subscriber):
                    await self.unsubscribe(topic)

    async def close(self) -> None:
        """End every subscription of a connection that has ended."""
        subscribers, self._subscribers = self._subscribers, {}
        await asyncio.gather(*(current_hub().leave(subscriber) for subscriber in subscribers.values()))

    # Presence

    async def update_presence(self, topic: str, metadata: Mapping[str, Any]) -> None:
        """Have the others see the client, by other metadata and as who it is now.

        Args:
            topic: name of a topic that the connection is subscribed to.
            metadata: at most 1,024 bytes of JSON. Those of all connections of a user in the topic change.

        Raises:
            KeyError: if the connection is not subscribed to the topic.
            MessageRefused: if the metadata take more (``too_large``).
        """
        await current_hub().identify(self._subscribers[topic], self._key(), plain_metadata(metadata))

    # Messages

    async def publish(
        self, topic: str, data: Any, *, include_self: bool = False, key: str | None = None
    ) -> Stored | None:
        """Publish to the subscribers of a topic, in every process. The connection need not be one of them.

        Args:
            topic: name of the topic.
            data: what is published; anything that msgspec writes as JSON.
            include_self: whether this connection gets it, too.
            key: two messages of a topic with the same key are one message; None for a message of its own.

        Returns:
            What was stored, once the subscribers of this process have it; None without a store.

        Raises:
            MessageRefused: ``internal`` if it is not stored, or not within ``write_timeout``.
            TypeError: if ``data`` cannot be written as JSON.
        """
        sender = "" if include_self else self._consumer.connection
        text = encode_data(data)
        if self._consumer.topic_store is None:
            live = events.notice(topic, encode_published(topic, text, timezone.now()), sender)
            current_hub().publish(topic, [live])
            return None
        outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await self.submit(
            Publication(topic, text, sender, key), lambda value: None if outcome.done() else outcome.set_result(value)
        )
        stored = await outcome
        if isinstance(stored, MessageRefused):
            raise MessageRefused(stored.code, stored.detail)
        return stored

    async def submit(self, write: Any, answer: Callable[[Any], None]) -> None:
        """Give a message to the store, and return before it is stored; wait only while too many are on their way.

        Args:
            write: a message, as the endpoint's store takes it.
            answer: called once: with the outcome when the subscribers of this process have the message, or with
                ``not_stored_yet`` of the store after ``write_timeout``. It may be stored all the same.
        """
        store = self._consumer.topic_store
        assert store is not None
        ticket = object()

        def is_late() -> None:
            self._late.add(ticket)
            answer(store.not_stored_yet)

        def is_done(outcome: Any) -> None:
            self._pending.release()
            timer.cancel()
            if ticket in self._late:  # each message has one answer
                self._late.remove(ticket)
            else:
                answer(outcome)

        try:
            # While earlier messages are late, another one does not wait.
            async with asyncio.timeout(0 if self._late else limits().write_timeout):
                await self._pending.acquire()
                timer = asyncio.get_running_loop().call_later(limits().write_timeout, is_late)
                try:
                    await current_hub().submit(store, write, is_done)
                except BaseException:
                    timer.cancel()
                    self._pending.release()
                    raise
        except TimeoutError:
            answer(store.not_stored_yet)

    async def history(self, topic: str, *, before: int | None = None, limit: int = 50) -> list[Entry]:
        """Return the last ``limit`` messages with numbers under ``before``, or the newest, oldest first.

        Raises:
            DatabaseError: if the store is away.
        """
        store = self._consumer.topic_store
        if store is None:
            return []
        entries: list[Entry] = await current_hub().read(store, store.read_before, topic, before, limit)
        return entries

    # Inside

    def _key(self) -> str:
        key = self._consumer.topic_key
        if len(key) > MAX_KEY:
            raise ValueError(f"topic_key may have {MAX_KEY} characters, not {len(key)}")
        return key

    async def _welcome(self, subscriber: Subscriber, since: Position | None) -> None:
        fanout = subscriber.fanout
        recovery = await self._recover(subscriber, since)
        while recovery.head.access > subscriber.access:
            # Something has changed since the client was admitted: what was said after it may not be for them.
            await self._admit_again(subscriber)
            recovery = await self._recover(subscriber, since)
        present = await fanout.present_for(subscriber)
        if not self._holds(subscriber):
            return  # ended while coming; the client knows
        await self._consumer.on_subscribed(
            Subscription(fanout.name, recovery.head, recovery.recovered, recovery.entries, present, subscriber)
        )
        await fanout.settle(subscriber, recovery.head.seq)

    async def _recover(self, subscriber: Subscriber, since: Position | None) -> Recovery:
        fanout = subscriber.fanout
        if fanout.store is None:
            return Recovery(Head(fanout.epoch, 0), [], recovered=False)
        read = functools.partial(current_hub().read, fanout.store)
        recovery: Recovery = await read(fanout.store.recover, fanout.name, since)
        if recovery.head.epoch != fanout.epoch:
            raise TopicGone(fanout.name)
        return recovery

    async def _admit_again(self, subscriber: Subscriber) -> None:
        subscriber.grant = admission = await self._consumer.open_topic(subscriber.fanout.name)
        subscriber.access = admission.head.access

    def _ended(self, subscriber: Subscriber) -> None:
        """The fan-out has ended a subscription."""
        if self._holds(subscriber):
            topic = subscriber.fanout.name
            del self._subscribers[topic]
            self._consumer.on_unsubscribed(topic)
            current_hub().spawn(self._depart(subscriber))

    async def _depart(self, subscriber: Subscriber) -> None:
        await current_hub().leave(subscriber)
        await self._consumer.leave(subscriber.fanout.name)

    def _holds(self, subscriber: Subscriber) -> bool:
        return self._subscribers.get(subscriber.fanout.name) is subscriber
