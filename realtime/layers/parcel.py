"""One message on its way to many members, and what each of them gets."""

from __future__ import annotations

import copy
from typing import Any

from realtime.messages import SharedMessage

__all__ = ["SEND_TYPE", "Parcel", "private_copy"]

#: The ASGI event that goes straight to the members' connections.
SEND_TYPE = "websocket.send"

#: Values that cannot be changed in place, so that members may share them.
_IMMUTABLE = frozenset({str, bytes, int, float, bool, type(None)})


class Parcel:
    """A message that is delivered to several members, none of which may notice what another does to it.

    Args:
        message: the message as it was sent. It is copied here, so that its sender may change it afterwards.

    Attributes:
        exclude: the channel that does not get it. Only ``websocket.send`` knows this key; in every other message
            ``exclude`` is the application's own data.
        shared: the one frame for all connections; None for every type but ``websocket.send``.

    Raises:
        ValueError: if a ``websocket.send`` message is not either text or bytes.
    """

    __slots__ = ("_is_flat", "_message", "exclude", "shared")

    def __init__(self, message: dict[str, Any]) -> None:
        self.exclude: str | None = None
        self.shared: SharedMessage | None = None
        self._is_flat = _is_flat(message)
        self._message = message.copy() if self._is_flat else private_copy(message)
        if message.get("type") == SEND_TYPE:
            self.exclude = self._message.pop("exclude", None)
            self.shared = SharedMessage.from_event(self._message)

    def copy(self) -> dict[str, Any]:
        """Return the message as a dict of one member's own."""
        return self._message.copy() if self._is_flat else private_copy(self._message)


def _is_flat(message: dict[str, Any]) -> bool:
    return all(type(value) in _IMMUTABLE for value in message.values())


def private_copy(value: Any) -> Any:
    """Copy dicts, lists and tuples to their ends, several times faster than ``copy.deepcopy``; anything else by it.

    Unlike ``deepcopy`` it does not follow cycles and does not keep two references to one list the same list: no
    message with either could be sent to another process.
    """
    kind = type(value)
    if kind in _IMMUTABLE:
        return value
    if kind is dict:
        return {key: private_copy(item) for key, item in value.items()}
    if kind is list:
        return [private_copy(item) for item in value]
    if kind is tuple:
        return tuple(private_copy(item) for item in value)
    return copy.deepcopy(value)
