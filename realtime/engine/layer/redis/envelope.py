"""What processes say to each other through Redis."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from channels_redis.serializers import registry

__all__ = ["Codec", "Envelope", "Kind", "UndecodableEnvelope"]


class UndecodableEnvelope(ValueError):
    """Bytes from Redis that no process of this version, with these keys, can have sent."""


class Kind(enum.IntEnum):
    """What an envelope asks of the process that gets it."""

    GROUP = 1
    """Deliver a message to the members of ``target``, a group."""
    CHANNEL = 2
    """Deliver a message to ``target``, a channel of that process."""
    ADD = 3
    """Put ``target``, a channel of that process, into the group ``content``."""
    DISCARD = 4
    """Take ``target``, a channel of that process, out of the group ``content``."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message between processes.

    Args:
        kind: what is asked.
        target: a group or a channel.
        content: the application's message, or a group's name.
    """

    kind: Kind
    target: str
    content: Any


class Codec:
    """Envelopes as bytes: the sender's process id in clear, then the serialised rest.

    The id stands in front so that a process recognises its own messages, which have been delivered already,
    without decoding them.

    Args:
        process: the id of this process; all ids have the same length.
        serializer: a format of ``channels_redis.serializers.registry``: ``msgpack``, ``json``, or an own one.
        symmetric_encryption_keys: keys for encryption, the first one for sending, all for receiving.
        expiry: seconds after which an encrypted message is refused.
    """

    def __init__(
        self, process: str, serializer: str, symmetric_encryption_keys: list[str | bytes] | None, expiry: float
    ) -> None:
        self._process = process.encode()
        self._serializer = registry.get_serializer(
            serializer, symmetric_encryption_keys=symmetric_encryption_keys, expiry=int(expiry)
        )

    def is_own(self, data: bytes) -> bool:
        """Tell whether this process has sent ``data``."""
        return data.startswith(self._process)

    def encode(self, kind: Kind, target: str, content: Any) -> bytes:
        """Return an envelope's bytes; raises what the serializer raises for a value that it does not know."""
        body: bytes = self._serializer.serialize([int(kind), target, content])
        return self._process + body

    def decode(self, data: bytes) -> Envelope:
        """Return the envelope in ``data``.

        Raises:
            UndecodableEnvelope: if there is none.
        """
        try:
            kind, target, content = self._serializer.deserialize(data[len(self._process) :])
            return Envelope(Kind(kind), target, content)
        except Exception as error:
            # Serializers and encryption raise errors of their own, without a common base; whatever it was,
            # these bytes are lost and the next ones are read.
            raise UndecodableEnvelope(f"{len(data)} bytes: {error!r}") from error
