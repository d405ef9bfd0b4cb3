"""What a channel layer has done so far, for metrics, readiness and logs."""

from __future__ import annotations

from dataclasses import asdict, dataclass

__all__ = ["Statistics"]


@dataclass(slots=True)
class Statistics:
    """Counters that only grow, from the start of the process.

    Every message that does not reach its receiver is counted by one of ``dropped``, ``expired``, ``unpublished`` and
    ``undecodable``: nothing is lost silently.
    """

    published: int = 0
    """Messages handed over to Redis."""
    received: int = 0
    """Messages that came from other processes."""
    delivered: int = 0
    """Deliveries to members of this process; a message to 500 members is 500 deliveries."""
    dropped: int = 0
    """Messages that a full queue refused."""
    expired: int = 0
    """Messages that nobody took within the layer's ``expiry``."""
    unpublished: int = 0
    """Messages that other processes may have missed, because Redis could not be reached in time."""
    undecodable: int = 0
    """Messages from Redis that this process could not read."""
    connects: int = 0
    """Connections to Redis that were established, the first one included."""
    disconnects: int = 0
    """Connections to Redis that were lost."""
    resynchronised: int = 0
    """Members that got ``layer.resynchronise``."""

    def as_dict(self) -> dict[str, int]:
        """Return all counters by name."""
        return asdict(self)
