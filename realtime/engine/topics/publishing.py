"""Publishing to topics from Django code that holds no connection: a view, a signal, an admin action, a command.

Synchronous. Subscribers notice once the transaction is committed.
"""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from realtime.engine.protocol.errors import MessageRefused
from realtime.engine.topics import events
from realtime.engine.topics.messages import Publication, encode_data, encode_published
from realtime.engine.topics.store import Entry, Stored, TopicStore

__all__ = ["publish", "publish_text", "recheck_topic", "store_and_publish"]


def publish(
    topic: str, data: Any, *, store: TopicStore[Publication] | None = None, key: str | None = None
) -> Stored | None:
    """Publish to a topic once the current transaction is committed.

    Args:
        topic: name of the topic.
        data: what is published; anything that msgspec writes as JSON.
        store: the store of the topic's endpoint; None for a topic with live messages only.
        key: two messages of a topic with the same key are one message; None for a message of its own.

    Returns:
        What was stored; None without a store.

    Raises:
        TypeError: if ``data`` cannot be written as JSON.
        MessageRefused: if the database refuses the message.
        DatabaseError: if the store is away.
    """
    text = encode_data(data)
    if store is None:
        publish_text(topic, encode_published(topic, text, timezone.now()))
        return None
    outcome = store_and_publish(store, Publication(topic, text, key=key))
    if not isinstance(outcome, Stored):
        raise MessageRefused(outcome.code, outcome.detail)
    return outcome


def publish_text(topic: str, text: str) -> None:
    """Send an encoded message to the subscribers of a topic, once the current transaction is committed.

    It has no number and is not stored. A subscriber gets it at most once.
    """
    events.send_on_commit(topic, [events.notice(topic, text)])


def store_and_publish(store: TopicStore[Any], write: Any) -> Any:
    """Store one message, publish it once the current transaction is committed, and return its outcome.

    Args:
        store: the store of the topic's endpoint.
        write: a message, as the store takes it.
    """
    [outcome] = store.append([write])
    if isinstance(outcome, Stored) and not outcome.is_repeat:
        entry = Entry(outcome.seq, outcome.text, write.sender)
        events.send_on_commit(write.topic, events.messages(write.topic, outcome.epoch, outcome.access, [entry]))
    return outcome


def recheck_topic(topic: str, *, store: TopicStore[Any] | None = None) -> None:
    """Have every process authorize its subscribers of a topic again, once the current transaction is committed.

    Call it in the transaction that takes a right away. With a store, no message that is stored afterwards reaches a
    subscriber that has lost the right, also if the event is lost.

    Args:
        topic: name of the topic.
        store: the store of the topic's endpoint; None for a topic with live messages only.
    """
    if store is not None:
        store.raise_access(topic)
    events.send_on_commit(topic, [events.changed(topic)])
