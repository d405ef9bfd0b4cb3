"""One WebSocket message as a value: text, binary, ping, pong or close.

A consumer receives and sends ``Message``. ``SharedMessage`` is one message for many sockets: it keeps its
encoded frame, so that a broadcast is encoded once.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from realtime.engine.close import is_sendable, truncate_reason
from realtime.engine.errors import NotTextError

__all__ = ["CloseFrame", "Kind", "Message", "SharedMessage"]

#: Payload limit of a control frame in bytes (RFC 6455, 5.5).
MAX_CONTROL_PAYLOAD = 125


class Kind(enum.Enum):
    """The five kinds of WebSocket message (RFC 6455, 5.2)."""

    TEXT = "text"
    BINARY = "binary"
    PING = "ping"
    PONG = "pong"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class CloseFrame:
    """Code and reason of a close frame (RFC 6455, 5.5.1)."""

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A WebSocket message.

    Make one with ``Message.text("hi")``, ``Message.binary(b"...")``, ``Message.ping()``,
    ``Message.pong()``, ``Message.close()`` or ``Message.close_with(code, reason)``.
    """

    kind: Kind
    payload: str | bytes | CloseFrame | None

    @classmethod
    def text(cls, text: str) -> Message:
        """Make a text message.

        Raises:
            TypeError: if ``text`` is not a ``str``.
        """
        if not isinstance(text, str):
            raise TypeError(f"Message.text() takes a str, not {type(text).__name__}")
        return cls(Kind.TEXT, text)

    @classmethod
    def binary(cls, data: bytes | bytearray | memoryview) -> Message:
        """Make a binary message; the bytes are copied unless they are ``bytes`` already.

        Raises:
            TypeError: if ``data`` is not bytes-like.
        """
        return cls(Kind.BINARY, _as_bytes("Message.binary()", data))

    @classmethod
    def ping(cls, data: bytes = b"") -> Message:
        """Make a ping with at most 125 bytes of payload (RFC 6455, 5.5.2)."""
        return cls(Kind.PING, _control_payload("Message.ping()", data))

    @classmethod
    def pong(cls, data: bytes = b"") -> Message:
        """Make an unsolicited pong with at most 125 bytes of payload (RFC 6455, 5.5.3)."""
        return cls(Kind.PONG, _control_payload("Message.pong()", data))

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
        """Return the text of a text message.

        Raises:
            NotTextError: for every other kind, binary that happens to be UTF-8 included.
        """
        if self.kind is not Kind.TEXT:
            raise NotTextError(f"as_str() needs a text message, this one is {self.kind.value}; use as_bytes()")
        assert isinstance(self.payload, str)
        return self.payload

    def as_bytes(self) -> bytes:
        """Return the payload as the bytes that stand in the frame (text as UTF-8)."""
        match self.payload:
            case str(text):
                return text.encode()
            case bytes(data):
                return data
            case CloseFrame(code, reason):
                return int(code).to_bytes(2, "big") + reason.encode()
        return b""


class SharedMessage:
    """A text or binary message that goes to many sockets.

    Args:
        text: the message, where it is text.
        data: the message, where it is binary. Exactly one of the two is given.

    Attributes:
        frame: the encoded frame without masking and extensions; the first connection that sends it sets it.

    Raises:
        ValueError: unless exactly one of ``text`` and ``data`` is given.
    """

    __slots__ = ("data", "frame", "text")

    def __init__(self, *, text: str | None = None, data: bytes | None = None) -> None:
        if (text is None) == (data is None):
            raise ValueError("a SharedMessage is either text or data")
        self.text = text
        self.data = data
        self.frame: bytes | None = None

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> SharedMessage:
        """Make one from a ``websocket.send`` event (ASGI: ``text`` or ``bytes``, the other None)."""
        return cls(text=event.get("text"), data=event.get("bytes"))

    def as_event(self) -> dict[str, Any]:
        """Return the ASGI ``websocket.send`` event of this message."""
        if self.text is not None:
            return {"type": "websocket.send", "text": self.text}
        return {"type": "websocket.send", "bytes": self.data}


def _as_bytes(caller: str, data: bytes | bytearray | memoryview) -> bytes:
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"{caller} takes bytes, not {type(data).__name__}")
    return bytes(data)


def _control_payload(caller: str, data: bytes) -> bytes:
    payload = _as_bytes(caller, data)
    if len(payload) > MAX_CONTROL_PAYLOAD:
        raise ValueError(f"{caller} takes at most {MAX_CONTROL_PAYLOAD} bytes (RFC 6455, 5.5), not {len(payload)}")
    return payload
