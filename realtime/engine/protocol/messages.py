"""WebSocket messages as values: ``Message`` for one peer, and ``SharedMessage`` for many sockets."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, NamedTuple

from realtime.engine.protocol.close import MAX_CONTROL_PAYLOAD, is_sendable, truncate_reason
from realtime.engine.protocol.errors import NotTextError


class Kind(enum.Enum):
    """The five kinds of WebSocket message (RFC 6455, 5.2)."""

    TEXT = "text"
    BINARY = "binary"
    PING = "ping"
    PONG = "pong"
    CLOSE = "close"


class CloseFrame(NamedTuple):
    """Code and reason of a close frame (RFC 6455, 5.5.1)."""

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A WebSocket message, made by one of the class methods: ``Message.text("hi")``."""

    kind: Kind
    payload: str | bytes | CloseFrame | None

    @classmethod
    def text(cls, text: str) -> Message:
        """Make a text message; raises ``TypeError`` for anything but a ``str``."""
        if not isinstance(text, str):
            raise TypeError(f"Message.text() takes a str, not {type(text).__name__}")
        return cls(Kind.TEXT, text)

    @classmethod
    def binary(cls, data: bytes | bytearray | memoryview) -> Message:
        """Make a binary message with a copy of the data; raises ``TypeError`` unless it is bytes-like."""
        return cls(Kind.BINARY, _as_bytes(data))

    @classmethod
    def ping(cls, data: bytes = b"") -> Message:
        """Make a ping with at most 125 bytes of payload (RFC 6455, 5.5.2)."""
        return cls(Kind.PING, _control_payload(data))

    @classmethod
    def pong(cls, data: bytes = b"") -> Message:
        """Make an unsolicited pong with at most 125 bytes of payload (RFC 6455, 5.5.3)."""
        return cls(Kind.PONG, _control_payload(data))

    @classmethod
    def close(cls) -> Message:
        """Make a close message without a code."""
        return cls(Kind.CLOSE, None)

    @classmethod
    def close_with(cls, code: int, reason: str = "") -> Message:
        """Make a close message; the reason is cut to 123 bytes at a character boundary.

        Raises:
            ValueError: if ``code`` may not stand in a close frame (RFC 6455, 7.4).
        """
        if not is_sendable(code):
            raise ValueError(f"close code {code} may not stand in a close frame (RFC 6455, 7.4)")
        return cls(Kind.CLOSE, CloseFrame(code, truncate_reason(reason)))

    @property
    def is_text(self) -> bool:
        """Whether this is a text message."""
        return self.kind is Kind.TEXT

    @property
    def is_binary(self) -> bool:
        """Whether this is a binary message."""
        return self.kind is Kind.BINARY

    @property
    def is_ping(self) -> bool:
        """Whether this is a ping."""
        return self.kind is Kind.PING

    @property
    def is_pong(self) -> bool:
        """Whether this is a pong."""
        return self.kind is Kind.PONG

    @property
    def is_close(self) -> bool:
        """Whether this is a close message."""
        return self.kind is Kind.CLOSE

    @property
    def close_frame(self) -> CloseFrame | None:
        """Code and reason of a close message; None without a code and for every other kind."""
        return self.payload if isinstance(self.payload, CloseFrame) else None

    def as_str(self) -> str:
        """Return the text; raises ``NotTextError`` for every other kind, also for binary that is UTF-8."""
        if self.kind is not Kind.TEXT:
            raise NotTextError(f"as_str() needs a text message, this one is {self.kind.value}; use as_bytes()")
        assert isinstance(self.payload, str)
        return self.payload

    def as_bytes(self) -> bytes:
        """Return the payload as the bytes that stand in the frame (text as UTF-8)."""
        match self.payload:
            case str(text):
                return text.encode()
            case CloseFrame(code, reason):
                return code.to_bytes(2, "big") + reason.encode()
        return self.payload or b""


class SharedMessage:
    """A message for many sockets, with either ``text`` or ``data``; raises ``ValueError`` for both or none.

    The first connection that sends it keeps the encoded frame in ``frame``, without masking and extensions.

    Args:
        text: a text message.
        data: a binary message.
        msgpack: the same message for connections that have negotiated msgpack; it is their ``packed``.
    """

    __slots__ = ("data", "frame", "packed", "text")

    def __init__(self, *, text: str | None = None, data: bytes | None = None, msgpack: bytes | None = None) -> None:
        if (text is None) == (data is None):
            raise ValueError("a SharedMessage is either text or data")
        self.text = text
        self.data = data
        self.frame: bytes | None = None
        self.packed = None if msgpack is None else SharedMessage(data=msgpack)

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> SharedMessage:
        """Make one from a ``websocket.send`` event (ASGI: ``text`` or ``bytes``, the other None)."""
        return cls(text=event.get("text"), data=event.get("bytes"), msgpack=event.get("msgpack"))

    def as_event(self) -> dict[str, Any]:
        """Return the ASGI ``websocket.send`` event of this message."""
        if self.text is not None:
            return {"type": "websocket.send", "text": self.text}
        return {"type": "websocket.send", "bytes": self.data}


def _as_bytes(data: bytes | bytearray | memoryview) -> bytes:
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"a binary payload is bytes, not {type(data).__name__}")
    return bytes(data)


def _control_payload(data: bytes) -> bytes:
    payload = _as_bytes(data)
    if len(payload) > MAX_CONTROL_PAYLOAD:
        raise ValueError(f"a ping or pong takes at most {MAX_CONTROL_PAYLOAD} bytes (RFC 6455, 5.5)")
    return payload
