"""The frames that wait for the peer."""

from __future__ import annotations

#: The most that is handed to a transport at once, in bytes; what it cannot send at once lies in *its* buffer.
WRITE_SIZE = 64 * 1024


class SendBuffer:
    """The frames of one connection that were not given to the transport yet.

    They are kept apart, so that a frame shared by many connections is stored once. A single frame needs no list: each
    object that a broadcast reads may be a miss of the processor's cache.

    Attributes:
        size: bytes in the buffer.
        blocked: whether the transport has asked to be given nothing.
    """

    __slots__ = ("_first", "_more", "_sent", "blocked", "size")

    def __init__(self) -> None:
        self._first: bytes | None = None
        self._more: list[bytes] | None = None
        self._sent = 0  # bytes of the first frame that the transport has
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
        first, more = self._first, self._more
        if first is None:
            return b""
        if self._sent or self.size > WRITE_SIZE:
            return self._take_part([first, *(more or ())])
        self._first = self._more = None
        self.size = 0
        return first if more is None else b"".join((first, *more))

    def _take_part(self, frames: list[bytes]) -> bytes:
        parts, room, count = [], WRITE_SIZE, 0
        while room and count < len(frames):
            part = memoryview(frames[count])[self._sent : self._sent + room]
            parts.append(part)
            room -= len(part)
            self._sent += len(part)
            if self._sent == len(frames[count]):
                self._sent = 0
                count += 1
        self._first = frames[count] if count < len(frames) else None
        self._more = frames[count + 1 :] or None
        self.size -= WRITE_SIZE - room
        return b"".join(parts)

    def drop_unsent(self) -> None:
        """Drop every frame of which nothing was sent."""
        first, sent = self._first, self._sent
        self.clear()
        if first is not None and sent:
            self._first, self._sent, self.size = first, sent, len(first) - sent

    def clear(self) -> None:
        self._first = self._more = None
        self._sent = self.size = 0
