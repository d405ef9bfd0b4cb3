"""Frames on their way to the peer, gathered until they are written."""

from __future__ import annotations

__all__ = ["WRITE_SIZE", "Output"]

#: The most that is handed to a transport at once, in bytes; what it cannot send at once lies in *its* buffer.
WRITE_SIZE = 64 * 1024


class Output:
    """A queue of frames. They are kept apart, so that a frame that is shared by many connections is stored once.

    Attributes:
        size: bytes in the queue.
        blocked: whether the transport has asked to be given nothing.
    """

    __slots__ = ("_begun", "_chunks", "blocked", "size")

    def __init__(self) -> None:
        self._chunks: list[bytes | memoryview] = []
        self._begun = False  # whether the first chunk is the rest of a frame
        self.size = 0
        self.blocked = False

    def append(self, frame: bytes) -> None:
        """Queue a whole frame."""
        self._chunks.append(frame)
        self.size += len(frame)

    def take(self) -> bytes:
        """Remove and return at most ``WRITE_SIZE`` bytes; empty when there is nothing to send."""
        chunks = self._chunks
        if self.size <= WRITE_SIZE:
            data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            chunks.clear()
            self.size = 0
            self._begun = False
            return data if type(data) is bytes else bytes(data)
        return self._take_part()

    def _take_part(self) -> bytes:
        room, count = WRITE_SIZE, 0
        while len(self._chunks[count]) <= room:
            room -= len(self._chunks[count])
            count += 1
        parts = self._chunks[:count]
        if room:
            parts.append(memoryview(self._chunks[count])[:room])
            self._chunks[count] = memoryview(self._chunks[count])[room:]
        del self._chunks[:count]
        self._begun = room > 0 or (count == 0 and self._begun)
        self.size -= WRITE_SIZE
        return b"".join(parts)

    def drop_unsent(self) -> None:
        """Forget every frame that has not been begun."""
        del self._chunks[1 if self._begun else 0 :]
        self.size = sum(map(len, self._chunks))

    def clear(self) -> None:
        """Forget everything."""
        self._chunks.clear()
        self._begun = False
        self.size = 0
