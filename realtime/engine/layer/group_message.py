"""One message on its way to many members, and what each of them gets."""

from __future__ import annotations

import copy
from typing import Any

from realtime.engine.messages import SharedMessage
from realtime.engine.monitoring.tracing import Carrier, TracedMessage

__all__ = ["SEND_TYPE", "Parcel", "carry", "private_copy", "seal", "unseal"]

#: The ASGI event that goes straight to the members' connections.
SEND_TYPE = "websocket.send"

#: Values that cannot be changed in place, so that members may share them.
_IMMUTABLE = frozenset({str, bytes, int, float, bool, type(None)})


class Parcel:
    """A message that is delivered to several members, none of which may notice what another does to it.

    Args:
        message: the message as it was sent. It is copied here, so that its sender may change it afterwards.
        trace: the context of its sender, where that is traced.

    Attributes:
        exclude: the channel that does not get it. Only ``websocket.send`` knows this key; in every other message
            ``exclude`` is the application's own data.
        shared: the one frame for all connections; None for every type but ``websocket.send``.

    Raises:
        ValueError: if a ``websocket.send`` message is not either text or bytes.
    """

    __slots__ = ("_is_flat", "_message", "_trace", "exclude", "shared")

    def __init__(self, message: dict[str, Any], trace: Carrier | None = None) -> None:
        self.exclude: str | None = None
        self.shared: SharedMessage | None = None
        self._trace = trace
        self._is_flat = _is_flat(message)
        # A plain dict, also of a message that is passed on as it was received, with the context of its first sender.
        self._message = message.copy() if self._is_flat else private_copy(message)
        if message.get("type") == SEND_TYPE:
            self.exclude = self._message.pop("exclude", None)
            self.shared = SharedMessage.from_event(self._message)

    def copy(self) -> dict[str, Any]:
        """Return the message as a dict of one member's own."""
        copied: dict[str, Any] = self._message.copy() if self._is_flat else private_copy(self._message)
        return carry(copied, self._trace)


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
    if kind is dict or kind is TracedMessage:
        return {key: private_copy(item) for key, item in value.items()}
    if kind is list:
        return [private_copy(item) for item in value]
    if kind is tuple:
        return tuple(private_copy(item) for item in value)
    return copy.deepcopy(value)


def carry(message: dict[str, Any], trace: Carrier | None) -> dict[str, Any]:
    """Return a message as its handler gets it: with its sender's context beside it, where there is one."""
    return message if trace is None else TracedMessage(message, trace)


def seal(message: dict[str, Any], trace: Carrier | None) -> Any:
    """Return what goes to other processes for a message: itself, or a list of it and of its sender's context."""
    return message if trace is None else [message, trace]


def unseal(content: Any) -> tuple[dict[str, Any], Carrier | None]:
    """Return the message and the context in what ``seal()`` has made."""
    if type(content) is list:
        message, trace = content
        return message, trace
    return content, None
