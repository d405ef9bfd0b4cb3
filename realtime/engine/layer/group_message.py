"""One message on its way to many members: copies for those of this process, bytes for the other processes."""

from __future__ import annotations

import copy
import enum
import logging
from typing import Any, NamedTuple

from channels_redis.serializers import registry

from realtime.engine.layer.options import LayerOptions
from realtime.engine.monitoring.tracing import Carrier, TracedMessage
from realtime.engine.protocol.messages import SharedMessage

logger = logging.getLogger(__name__)

#: The ASGI event that goes straight to the members' connections.
SEND_TYPE = "websocket.send"

#: Values that cannot be changed in place, so that members may share them.
_IMMUTABLE = frozenset({str, bytes, int, float, bool, type(None)})


class GroupMessage:
    """A message that several members get, none of which notices what another, or the sender, does to it.

    Args:
        message: the message as it was sent; it is copied.
        trace: the sender's context, where that is traced.

    Attributes:
        exclude: the channel that does not get a ``websocket.send``; elsewhere this key is the application's own.
        shared: the one frame for all connections; None for every type but ``websocket.send``.

    Raises:
        ValueError: if a ``websocket.send`` message is not either text or bytes.
    """

    __slots__ = ("_is_flat", "_message", "_trace", "exclude", "shared")

    def __init__(self, message: dict[str, Any], trace: Carrier | None = None) -> None:
        self.exclude: str | None = None
        self.shared: SharedMessage | None = None
        self._trace = trace
        self._is_flat = all(type(value) in _IMMUTABLE for value in message.values())
        # A plain dict, also of a message that is passed on as it was received, with the context of its first sender.
        self._message = message.copy() if self._is_flat else private_copy(message)
        if message.get("type") == SEND_TYPE:
            self.exclude = self._message.pop("exclude", None)
            self.shared = SharedMessage.from_event(self._message)

    def copy(self) -> dict[str, Any]:
        """Return the message as a dict of one member's own, with its sender's context."""
        copied: dict[str, Any] = self._message.copy() if self._is_flat else private_copy(self._message)
        return copied if self._trace is None else TracedMessage(copied, self._trace)


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


class Kind(enum.IntEnum):
    """What the process that receives a message does with it."""

    GROUP = 1  # deliver it to the members of ``target``, a group
    CHANNEL = 2  # deliver it to ``target``, a channel of that process
    ADD = 3  # put ``target``, a channel of that process, into the group ``content``
    DISCARD = 4  # take ``target``, a channel of that process, out of the group ``content``


class RemoteMessage(NamedTuple):
    """What one process sends to another: the application's message or a group's name, for a group or a channel."""

    kind: Kind
    target: str
    content: Any
    trace: Carrier | None


class Codec:
    """Messages as bytes: the sender's process id in clear, then the serialised rest.

    The id stands in front so that a process recognises its own messages, which are delivered already, undecoded.

    Args:
        options: has the id of this process, and the seconds after which an encrypted message is refused.
        serializer: a format of ``channels_redis.serializers.registry``.
        symmetric_encryption_keys: keys for encryption, the first one for sending, all for receiving.
    """

    def __init__(
        self, options: LayerOptions, serializer: str, symmetric_encryption_keys: list[str | bytes] | None
    ) -> None:
        self._process = options.process.encode()
        self._statistics = options.statistics
        self._serializer = registry.get_serializer(
            serializer, symmetric_encryption_keys=symmetric_encryption_keys, expiry=int(options.expiry)
        )

    def is_own(self, data: bytes) -> bool:
        """Return whether this process has sent ``data``."""
        return data.startswith(self._process)

    def encode(self, kind: Kind, target: str, content: Any, trace: Carrier | None = None) -> bytes:
        """Return the bytes of a message; raises what the serializer raises for a value that it does not know."""
        body: bytes = self._serializer.serialize([int(kind), target, content, trace])
        return self._process + body

    def decode(self, data: bytes) -> RemoteMessage | None:
        """Return the message in ``data``; None for bytes that no process with these options can have sent."""
        try:
            kind, target, content, trace = self._serializer.deserialize(data[len(self._process) :])
            return RemoteMessage(Kind(kind), target, content, trace)
        except Exception:
            # Serializers and encryption raise errors of their own, without a common base.
            self._statistics.undecodable += 1
            logger.exception("A message of %d bytes from another process is lost: it could not be decoded.", len(data))
            return None
