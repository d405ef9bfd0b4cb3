"""Frames on their way to the peer, gathered until they are written."""

from __future__ import annotations

__all__ = ["WRITE_SIZE", "Output"]

#: The most that is handed to a transport at once, in bytes; what it cannot send at once lies in *its* buffer.
WRITE_SIZE = 64 * 1024


class Output:
    """A queue of frames. They are kept apart, so that a frame that is shared by many connections is stored once.

    Most of the time it holds one frame at most, and then needs no list: with thousands of connections each object that
    a broadcast has to look at is one more miss of the processor's cache.

    Attributes:
        size: bytes in the queue.
        blocked: whether the transport has asked to be given nothing.
    """

    __slots__ = ("_begun", "_first", "_more", "blocked", "size")

    def __init__(self) -> None:
        self._first: bytes | memoryview | None = None
        self._more: list[bytes | memoryview] | None = None  # what comes behind the first
        self._begun = False  # whether the first is the rest of a frame
        self.size = 0
        self.blocked = False

    def append(self, frame: bytes) -> None:
        """Queue a whole frame."""
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
        """Forget every frame that has not been begun."""
        if self._begun and self._first is not None:
            self._more = None
            self.size = len(self._first)
        else:
            self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._first = self._more = None
        self._begun = False
        self.size = 0
