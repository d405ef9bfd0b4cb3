"""The events that processes send each other about rooms, over the channel layer.

A room has two groups. ``room.<slug>`` holds the channel of every member; anything in Django may send a
``websocket.send`` to it. ``room-fanout.<id>`` holds one channel for each process with members, and carries the events
below. They may be lost, repeated and reordered: the database decides.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from django.db import transaction
from redis.exceptions import RedisError

from realtime.engine.topics.presence import Transition
from realtime.rooms.store.selectors import Entry

logger = logging.getLogger("realtime.rooms")

#: Messages in one event: at the longest they stay under two megabytes.
MESSAGES_PER_EVENT = 100

Event = dict[str, Any]


def members_group(slug: str) -> str:
    """Return the group of the channels of a room's members."""
    return f"room.{slug}"


def fanout_group(room_id: int) -> str:
    """Return the group of the processes that have members in a room."""
    return f"room-fanout.{room_id}"


def messages(room_id: int, access_version: int, entries: Sequence[Entry], origin: str = "") -> list[Event]:
    """Return the events that publish stored messages.

    Args:
        room_id: the room's primary key.
        access_version: the room's when the messages were stored.
        entries: the messages.
        origin: the process that has stored them, and has passed them to its own members.
    """
    return [
        {
            "type": "room.messages",
            "room": room_id,
            "origin": origin,
            "access_version": access_version,
            "entries": [list(entry) for entry in entries[start : start + MESSAGES_PER_EVENT]],
        }
        for start in range(0, len(entries), MESSAGES_PER_EVENT)
    ]


def presence(transition: Transition, origin: str) -> Event:
    """Return the event that publishes that a user has come or gone."""
    return {
        "type": "room.presence",
        "room": transition.room_id,
        "origin": origin,
        "transition": list(transition),
    }


def notice(room_id: int, text: str) -> Event:
    """Return the event that passes an encoded message to every member; it is not stored, and may be lost."""
    return {"type": "room.notice", "room": room_id, "text": text}


async def publish(room_id: int, events: Iterable[Event]) -> None:
    """Send events to a room's fan-outs. When this fails, nothing stored is lost: they notice and read it."""
    layer: Any = get_channel_layer()
    try:
        for event in events:
            await layer.group_send(fanout_group(room_id), event)
    except (RedisError, OSError, ChannelFull) as error:
        logger.warning("an event of room %d could not be published, its members get it later: %s", room_id, error)


def publish_on_commit(room_id: int, events: Iterable[Event]) -> None:
    """Send events from synchronous code, once what they are about is committed."""
    transaction.on_commit(lambda: async_to_sync(publish)(room_id, events))


def publish_change(room_id: int, **_: Any) -> None:
    """Have the processes with members in a room read its settings and memberships again."""
    publish_on_commit(room_id, [{"type": "room.changed", "room": room_id}])
