"""The events that processes send each other about topics, over the channel layer.

A topic has two groups. Its own name is the group of the channels of its subscribers; anything in Django may send a
``websocket.send`` to it. ``topic-fanout.<name>`` holds one channel for each process with subscribers, and carries the
events below. They may be lost, repeated and reordered: the store decides.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from django.db import transaction
from redis.exceptions import RedisError

from realtime.engine.topics.presence import Transition
from realtime.engine.topics.store import Entry

logger = logging.getLogger("realtime.topics")

#: Messages in one event: of rooms, they stay under two megabytes at the longest.
MESSAGES_PER_EVENT = 100

Event = dict[str, Any]


def fanout_group(topic: str) -> str:
    """Return the group of the processes that have subscribers of a topic."""
    return f"topic-fanout.{topic}"


def messages(topic: str, epoch: str, access: int, entries: Sequence[Entry], origin: str = "") -> list[Event]:
    """Return the events that publish stored messages.

    Args:
        topic: name of the topic.
        epoch: the numbering of the topic.
        access: version of the rights when the messages were stored.
        entries: the messages.
        origin: the process that has stored them, and has passed them to its own subscribers.
    """
    return [
        {
            "type": "topic.messages",
            "topic": topic,
            "origin": origin,
            "epoch": epoch,
            "access": access,
            "entries": [list(entry) for entry in entries[start : start + MESSAGES_PER_EVENT]],
        }
        for start in range(0, len(entries), MESSAGES_PER_EVENT)
    ]


def presence(transition: Transition, origin: str) -> Event:
    """Return the event that publishes a transition."""
    # As text: a channel layer need not carry every number that JSON has.
    return {
        "type": "topic.presence",
        "topic": transition.topic,
        "origin": origin,
        "transition": msgspec.json.encode(transition).decode(),
    }


def notice(topic: str, text: str, sender: str = "") -> Event:
    """Return the event that passes an encoded message to every subscriber; it is not stored, and may be lost.

    Args:
        topic: name of the topic.
        text: the encoded message.
        sender: the connection that gets no copy; empty for none.
    """
    return {"type": "topic.notice", "topic": topic, "text": text, "sender": sender}


def changed(topic: str) -> Event:
    """Return the event that has every process authorize its subscribers of a topic again."""
    return {"type": "topic.changed", "topic": topic}


async def send(topic: str, events: Iterable[Event]) -> None:
    """Send events to a topic's fan-outs. When this fails, nothing stored is lost: they notice and read it."""
    layer: Any = get_channel_layer()
    try:
        for event in events:
            await layer.group_send(fanout_group(topic), event)
    except (RedisError, OSError, ChannelFull) as error:
        logger.warning("an event of topic %s could not be published, its subscribers get it later: %s", topic, error)


def send_on_commit(topic: str, events: Iterable[Event]) -> None:
    """Send events from synchronous code, once what they are about is committed."""
    transaction.on_commit(lambda: async_to_sync(send)(topic, events))
