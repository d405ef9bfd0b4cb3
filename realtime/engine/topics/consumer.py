"""``TopicConsumer``: a ``PolicyConsumer`` whose connections subscribe to topics."""

from __future__ import annotations

import functools
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django.db import DatabaseError, InterfaceError

from realtime.engine.auth.anonymous import anonymous_identity
from realtime.engine.consumers.consumer import PolicyConsumer
from realtime.engine.consumers.typed import MSGPACK_SUBPROTOCOL
from realtime.engine.protocol.errors import DeclarationError, MessageRefused
from realtime.engine.protocol.messages import Message, SharedMessage
from realtime.engine.topics import messages
from realtime.engine.topics.fanout import TopicFanout
from realtime.engine.topics.hub import current_hub
from realtime.engine.topics.presence import Transition
from realtime.engine.topics.store import Head, TopicStore
from realtime.engine.topics.subscriber import Subscriber
from realtime.engine.topics.subscriptions import Subscription, Subscriptions

__all__ = ["Admission", "TopicConsumer"]

logger = logging.getLogger("realtime.topics")

#: Where a topic without a store stands.
NO_HEAD = Head("", 0)


@dataclass(frozen=True, slots=True)
class Admission:
    """A client may subscribe to a topic.

    Args:
        head: where the topic stands. It was read before the rights, so that these are at least as new.
    """

    head: Head


class TopicConsumer(PolicyConsumer):
    """Base class of an endpoint with topics.

    ``await self.topics.subscribe("poll.7")`` sends ``Subscribed``, and from then on every message of the topic, once
    and in order. ``on_subscribed``, ``on_unsubscribed`` and ``encode_presence`` say it in other words.

    Attributes:
        topic_store: the messages of the topics; None for live messages only.
        topics: the subscriptions of this connection.
    """

    topic_store: ClassVar[TopicStore[Any] | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if MSGPACK_SUBPROTOCOL in cls.policy.subprotocols:
            raise DeclarationError(f"{cls.__name__}: the messages of topics are JSON, its policy cannot list msgpack")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Identity of the connection among the subscribers of its topics.
        self.connection = uuid.uuid4().hex
        self.topics = Subscriptions(self)

    # What an endpoint overrides

    async def authorize_topic(self, topic: str) -> None:
        """Decide whether ``self.user`` may be in a topic. Each endpoint defines it.

        It is called again when rights may have changed: decide and change nothing.

        Raises:
            MessageRefused: if not.
        """
        raise NotImplementedError(f"{type(self).__name__} has topics: define 'async def authorize_topic(self, topic)'")

    @property
    def topic_key(self) -> str:
        """Who the client is in presence: the same for all connections of a user, and of an anonymous browser."""
        if self.user.is_authenticated:
            return f"user:{self.user.pk}"
        return f"anonymous:{self.anonymous_identity}"

    async def on_subscribed(self, subscription: Subscription) -> None:
        """Let the client know that it is subscribed. Messages of the topic follow once this has returned."""
        subscribed = messages.Subscribed(
            topic=subscription.topic,
            epoch=subscription.head.epoch,
            seq=subscription.head.seq,
            recovered=subscription.recovered,
            messages=messages.raw(subscription.entries),
            present=messages.present(subscription.present),
        )
        await self.send_message(Message.text(messages.encode(subscribed)))

    def on_unsubscribed(self, topic: str) -> None:
        """Let the client know that it gets nothing of a topic any more; must not wait."""
        self.send_nowait(SharedMessage(text=messages.encode(messages.Unsubscribed(topic))))

    @classmethod
    def encode_presence(cls, transition: Transition) -> str | None:
        """Return what the other subscribers get when a user comes, goes or changes; None for nothing."""
        return messages.encode_transition(transition)

    # What a larger endpoint overrides

    async def open_topic(self, topic: str) -> Admission:
        """Authorize the client, and return where the topic stands.

        Override it where the store and the rights are read together.

        Raises:
            MessageRefused: if the client may not subscribe.
        """
        store = self.topic_store
        if store is None:
            await self.authorize_topic(topic)
            return Admission(NO_HEAD)
        read = functools.partial(current_hub().read, store)
        head = (await read(store.heads, [topic])).get(topic)
        await self.authorize_topic(topic)
        # Of a topic that is made only now, the rights are older than the head.
        return Admission(head or (await read(store.open, topic))._replace(access=0))

    @classmethod
    async def authorize_subscribers(cls, fanout: TopicFanout, subscribers: Sequence[Subscriber]) -> int:
        """Authorize subscribers again, and end those that may not be here.

        Override it where one query can answer for all of them.

        Args:
            fanout: the topic in this process.
            subscribers: those that are connections of this class.

        Returns:
            The version of the rights that were read.

        Raises:
            TopicGone: if there is no such topic.
            DatabaseError: if the database is away; it is called again.
        """
        store = fanout.store
        head = NO_HEAD if store is None else await current_hub().read(store, store.open, fanout.name)
        for subscriber in subscribers:
            may_stay = False
            try:
                await subscriber.consumer.authorize_topic(fanout.name)
                may_stay = True
            except (DatabaseError, InterfaceError):
                raise  # the fan-out tries again
            except MessageRefused as refused:
                logger.debug("a subscriber of topic %s may not stay: %s", fanout.name, refused)
            except Exception:
                logger.exception("a subscriber of topic %s could not be authorized, and may not stay", fanout.name)
            if may_stay:
                subscriber.access = max(subscriber.access, head.access)
            elif fanout.has(subscriber):
                fanout.end(subscriber)
        return head.access

    @functools.cached_property
    def anonymous_identity(self) -> str:
        """Who an anonymous user is: a browser by its cookie, another client for as long as it is connected."""
        return anonymous_identity(self.scope) or self.connection

    async def access_changed(self) -> None:
        """Decide about the connection and about each of its topics anew."""
        await super().access_changed()
        await self.topics.recheck()

    async def release_connection(self) -> None:
        """End every subscription, after ``disconnect()``."""
        await super().release_connection()
        await self.topics.close()
