"""What waits on either side of a connection: events for the application, and frames for the peer."""

from __future__ import annotations

from typing import Any

__all__ = ["MAX_QUEUED_BYTES", "MAX_QUEUED_MESSAGES", "WRITE_SIZE", "ReceiveQueue", "SendBuffer"]

#: Received messages that wait for the application; at either bound no more are parsed.
MAX_QUEUED_BYTES = 256 * 1024
MAX_QUEUED_MESSAGES = 256

#: The most that is handed to a transport at once, in bytes; what it cannot send at once lies in *its* buffer.
WRITE_SIZE = 64 * 1024


class ReceiveQueue:
    """The ASGI events of one connection. A list, because an empty deque takes 600 bytes."""

    __slots__ = ("_items", "_size")

    def __init__(self) -> None:
        self._items: list[str | bytes | dict[str, Any]] = []
        self._size = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def has_room(self) -> bool:
        return self._size < MAX_QUEUED_BYTES and len(self._items) < MAX_QUEUED_MESSAGES

    def add_message(self, message: str | bytes) -> None:
        self._items.append(message)
        self._size += len(message)

    def add_event(self, event: dict[str, Any]) -> None:
        """Add an event that is no message; there is always room for it."""
        self._items.append(event)

    def take(self) -> dict[str, Any] | None:
        """Remove and return the first event, None when there is none."""
        if not self._items:
            return None
        item = self._items.pop(0)
        if isinstance(item, dict):
            return item
        self._size -= len(item)
        return {"type": "websocket.receive", "text" if isinstance(item, str) else "bytes": item}

    def clear(self) -> None:
        self._items.clear()
        self._size = 0


class SendBuffer:
    """The frames of one connection that were not given to the transport yet.

    They are kept apart, so that a frame shared by many connections is stored once. A single frame needs no list: each
    object that a broadcast reads may be a miss of the processor's cache.

    Attributes:
        size: bytes in the buffer.
        blocked: whether the transport has asked to be given nothing.
    """

    __slots__ = ("_begun", "_first", "_more", "blocked", "size")

    def __init__(self) -> None:
        self._first: bytes | memoryview | None = None
        self._more: list[bytes | memoryview] | None = None
        self._begun = False  # whether the first is the rest of a frame
        self.size = 0
        self.blocked = False

    def append(self, frame: bytes) -> None:
        if self._first is None:
            self._first = frame
        elif self._more is None:
            self._more = [frame]
        else:
            self._more.append(frame)
        self.size += len(frame)

    def take(self) -> bytes:
        """Remove and return at most ``WRITE_SIZE`` bytes; empty when there is nothing to send."""
        if self.size > WRITE_SIZE:
            return self._take_part()
        first, more = self._first, self._more
        self.clear()
        if first is None:
            return b""
        if more is not None:
            return b"".join((first, *more))
        return first if type(first) is bytes else bytes(first)

    def _take_part(self) -> bytes:
        assert self._first is not None
        chunks = [self._first, *(self._more or ())]
        room, count = WRITE_SIZE, 0
        while len(chunks[count]) <= room:
            room -= len(chunks[count])
            count += 1
        parts = chunks[:count]
        if room:
            parts.append(memoryview(chunks[count])[:room])
            chunks[count] = memoryview(chunks[count])[room:]
        self._begun = room > 0 or (count == 0 and self._begun)
        self._first, self._more = chunks[count], chunks[count + 1 :] or None
        self.size -= WRITE_SIZE
        return b"".join(parts)

    def drop_unsent(self) -> None:
        """Drop every frame of which nothing was sent."""
        if self._begun and self._first is not None:
            self._more = None
            self.size = len(self._first)
        else:
            self.clear()

    def clear(self) -> None:
        self._first = self._more = None
        self._begun = False
        self.size = 0
