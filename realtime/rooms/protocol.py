"""The JSON messages of ``/ws/rooms``, tagged by ``type``, in both directions."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from realtime.engine import MessageDecoder, Position
from realtime.engine.topics.limits import MAX_SEQ
from realtime.rooms.limits import MAX_PAGE, MAX_REF

Ref = Annotated[str, Meta(max_length=MAX_REF)]
PresenceState = Literal["joined", "left"]

#: Values of ``code`` in an ``Error`` of the rooms protocol, for a client's program.
ErrorCode = Literal[
    "forbidden",
    "internal",
    "invalid_message",
    "not_joined",
    "rate_limited",
    "too_large",
    "unauthorized",
    "unknown_room",
]


# Client to server


class Command(Struct, tag_field="type", kw_only=True, frozen=True):
    """What every message of a client may carry: a reference that its answer repeats."""

    ref: Ref | None = None


class Join(Command, tag="Join", frozen=True):
    """Enter a room, and get what was said there since ``since``, or the newest messages."""

    room: str
    since: Position | None = None


class Post(Command, tag="Chat", frozen=True):
    """Post a message; ``room`` is needed only by a client that is in several."""

    content: str
    room: str | None = None


class Leave(Command, tag="Leave", frozen=True):
    """Leave a room; ``room`` is needed only by a client that is in several."""

    room: str | None = None


class History(Command, tag="History", frozen=True):
    """Ask for at most ``limit`` messages before number ``before``, or for the newest."""

    room: str | None = None
    before: Annotated[int, Meta(ge=1, le=MAX_SEQ)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class Authenticate(Command, tag="Authenticate", frozen=True):
    """Bring an access token: a first one, or a newer one of the same user."""

    token: str


class Ping(Command, tag="Ping", frozen=True):
    """Ask for a ``Pong``, for clients that cannot send protocol pings: browsers."""


ClientMessage = Join | Post | Leave | History | Authenticate | Ping


# Server to client


class Event(Struct, tag_field="type", kw_only=True, frozen=True):
    """What every message of the server has in common: its ``type``."""


class Chat(Event, tag="Chat", frozen=True):
    """A stored message."""

    room: str
    seq: int
    user: str
    content: str
    at: datetime.datetime


class Joined(Event, tag="Joined", frozen=True):
    """The client is in the room. ``recovered``: ``messages`` is exactly what came after its ``since``."""

    room: str
    epoch: str
    seq: int
    members: list[str]
    recovered: bool
    messages: list[Chat]


class Ack(Event, tag="Ack", frozen=True):
    """The client's message is stored under this number."""

    ref: str | None
    room: str
    seq: int
    at: datetime.datetime


class Left(Event, tag="Left", frozen=True):
    """The client is no longer in the room, by its own wish or because it may not be."""

    room: str


class Access(Event, tag="Access", frozen=True):
    """Whether the client may write in a room that it is in has changed."""

    room: str
    may_post: bool


class Presence(Event, tag="Presence", frozen=True):
    """Somebody else came (``joined``) or went (``left``)."""

    room: str
    user: str
    state: PresenceState


class Page(Event, tag="History", frozen=True):
    """The answer to ``History``, oldest message first."""

    room: str
    messages: list[Chat]


class Hidden(Event, tag="Hidden", frozen=True):
    """A moderator has hidden a message; clients remove it from view."""

    room: str
    seq: int


class Authenticated(Event, tag="Authenticated", frozen=True):
    """The token was accepted, until ``expires_at``."""

    user: str
    expires_at: datetime.datetime


class Pong(Event, tag="Pong", frozen=True):
    """The answer to ``Ping``."""


class Error(Event, tag="Error", frozen=True):
    """The client's message had no effect; the connection and all other messages are not touched."""

    code: ErrorCode
    detail: str
    ref: str | None = None


#: What answers a message that has an effect, for the description of the endpoint.
REPLIES = {Join: Joined, Post: Ack, Leave: Left, History: Page, Authenticate: Authenticated, Ping: Pong}

ServerMessage = Joined | Chat | Ack | Left | Access | Presence | Page | Hidden | Authenticated | Pong | Error


# Text to command, event to text


_messages: MessageDecoder = MessageDecoder(ClientMessage)
_encoder = msgspec.json.Encoder()


def decode(text: str) -> ClientMessage:
    """Return the message of a client.

    Args:
        text: the text of one WebSocket message.

    Raises:
        InvalidMessage: for everything else; ``detail`` says what and where, ``ref`` is the message's own if readable.
    """
    _, message = _messages.decode(text)
    return message


def read_ref(text: str) -> str | None:
    """Return the ``ref`` of a message that may be wrong in every other way; None if it has none."""
    return _messages.read_ref(text)


def encode(event: Event) -> str:
    """Return the JSON text of a server message."""
    return _encoder.encode(event).decode()
