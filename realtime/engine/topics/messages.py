"""The JSON messages of topics, tagged by ``type``: what a client gets unless its endpoint says it in other words."""

from __future__ import annotations

import datetime
import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from realtime.engine.topics.presence import Presence, State, Transition
from realtime.engine.topics.store import Entry

__all__ = ["PresenceChanged", "Present", "Published", "Subscribed", "TopicMessage", "Unsubscribed"]


class Published(Struct, tag=True, frozen=True):
    """A message of a topic. ``seq`` is its number; a topic without a store has none."""

    topic: str
    data: Any
    at: datetime.datetime
    seq: int | UnsetType = UNSET


class Present(Struct, frozen=True):
    """A user in a topic: who it is, since when, and what the endpoint says about it."""

    who: str
    since: datetime.datetime
    metadata: dict[str, Any]


class Subscribed(Struct, tag=True, frozen=True):
    """The client is subscribed. ``recovered``: ``messages`` is exactly what came after its position."""

    topic: str
    epoch: str
    seq: int
    recovered: bool
    messages: list[Published]
    present: list[Present]


class PresenceChanged(Struct, tag="Presence", frozen=True):
    """Another user came (``joined``), went (``left``), or has other metadata (``updated``)."""

    topic: str
    state: State
    who: str
    since: datetime.datetime
    metadata: dict[str, Any]


class Unsubscribed(Struct, tag=True, frozen=True):
    """The client gets nothing of the topic any more, by its own wish or because it may not."""

    topic: str


@dataclass(frozen=True, slots=True)
class Publication:
    """A message on its way to one of the engine's stores.

    Args:
        topic: name of the topic.
        data: the message as JSON text.
        sender: the connection that sends it, which gets no copy; empty for none.
        key: two messages of a topic with the same key are one message; None for a message of its own.
        nonce: identifies a message without a key.
    """

    topic: str
    data: str
    sender: str = ""
    key: str | None = None
    nonce: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def identity(self) -> str:
        """The same for a repeated message, 64 characters at most whatever the key is."""
        if self.key is None:
            return self.nonce
        return hashlib.sha256(self.key.encode("utf-8", "surrogatepass")).hexdigest()


#: What a client gets: for ``server_messages`` of an endpoint.
TopicMessage = Subscribed | Published | PresenceChanged | Unsubscribed


def encode(message: Struct) -> str:
    """Return the JSON text of a message."""
    return msgspec.json.encode(message).decode()


def encode_data(data: Any) -> str:
    """Return the JSON text of what an endpoint publishes.

    Raises:
        TypeError: if it cannot be written as JSON.
    """
    return msgspec.json.encode(data).decode()


def encode_published(topic: str, data: str, at: datetime.datetime, seq: int | UnsetType = UNSET) -> str:
    """Return the text of a ``Published`` message.

    Args:
        topic: name of the topic.
        data: what is published, as JSON text.
        at: when it was published.
        seq: its number; left out for a topic without a store.
    """
    return encode(Published(topic, Raw(data.encode()), at.astimezone(datetime.UTC), seq))


def encode_transition(transition: Transition) -> str:
    """Return the text of a ``Presence`` message."""
    return encode(
        PresenceChanged(
            topic=transition.topic,
            state=transition.state,
            who=transition.key,
            since=_time(transition.since),
            metadata=transition.metadata,
        )
    )


def present(users: Iterable[Presence]) -> list[Present]:
    """Return users as they stand in ``Subscribed``."""
    return [Present(user.key, _time(user.since), user.metadata) for user in users]


def raw(entries: Iterable[Entry]) -> list[Any]:
    """Return messages that are encoded already, for a field of a message that is encoded now."""
    return [Raw(entry.text.encode()) for entry in entries]


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
