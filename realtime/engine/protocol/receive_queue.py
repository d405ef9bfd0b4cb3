"""What an application has still to receive, within bounds."""

from __future__ import annotations

from typing import Any

__all__ = ["MAX_QUEUED_BYTES", "MAX_QUEUED_MESSAGES", "Inbox"]

#: Received messages that wait for the application; at either bound no more are parsed.
MAX_QUEUED_BYTES = 256 * 1024
MAX_QUEUED_MESSAGES = 256


class Inbox:
    """The ASGI events of one connection. A list, for a deque takes 600 bytes when it is empty."""

    __slots__ = ("_items", "_size")

    def __init__(self) -> None:
        self._items: list[str | bytes | dict[str, Any]] = []
        self._size = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def has_room(self) -> bool:
        """Whether another message may be put in."""
        return self._size < MAX_QUEUED_BYTES and len(self._items) < MAX_QUEUED_MESSAGES

    def add_message(self, message: str | bytes) -> None:
        """Put a message in."""
        self._items.append(message)
        self._size += len(message)

    def add_event(self, event: dict[str, Any]) -> None:
        """Put another event in; there is always room for it."""
        self._items.append(event)

    def take(self) -> dict[str, Any] | None:
        """Remove and return the first event, None when there is none."""
        if not self._items:
            return None
        item = self._items.pop(0)
        kind = type(item)
        if kind is str:
            self._size -= len(item)
            return {"type": "websocket.receive", "text": item}
        if kind is bytes:
            self._size -= len(item)
            return {"type": "websocket.receive", "bytes": item}
        assert isinstance(item, dict)
        return item

    def clear(self) -> None:
        """Forget every event."""
        self._items.clear()
        self._size = 0
