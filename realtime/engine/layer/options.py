"""What the parts of one layer share in one process: its options and its counters."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

#: Length of a process id in hexadecimal digits: 64 bits, so that no two processes ever share one.
PROCESS_ID_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a layer waits for Redis, in seconds."""

    connect: float = 2.0  # to connect, authenticate and subscribe
    command: float = 3.0  # for the answer to a command
    silence: float = 1.5  # without data before a ping; after twice that the connection counts as lost
    linger: float = 10.0  # between two looks for groups to unsubscribe from: a page that is loaded again costs nothing


@dataclass(slots=True)
class Statistics:
    """Counters that only grow, from the start of the process.

    Every message that does not reach its receiver is counted by one of ``dropped``, ``expired``, ``unpublished`` and
    ``undecodable``: nothing is lost silently.
    """

    published: int = 0  # messages handed over to Redis
    received: int = 0  # messages that came from other processes
    delivered: int = 0  # deliveries to members of this process; a message to 500 members is 500 deliveries
    dropped: int = 0  # messages that a full queue refused
    expired: int = 0  # messages that nobody took within the layer's ``expiry``
    unpublished: int = 0  # messages that other processes may have missed: Redis could not be reached in time
    undecodable: int = 0  # messages from Redis that this process could not read
    connects: int = 0  # connections to Redis that were established, the first one included
    disconnects: int = 0  # connections to Redis that were lost
    resynchronised: int = 0  # members that got ``layer.resynchronise``

    def as_dict(self) -> dict[str, int]:
        """Return all counters by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class LayerOptions:
    """The options of ``FanoutChannelLayer`` that several of its parts need, with what they share."""

    prefix: str = "realtime"
    expiry: float = 60
    group_expiry: float = 86400
    capacity_of: Callable[[str], int] = lambda channel: 100
    timing: Timing = Timing()
    process: str = field(default_factory=lambda: secrets.token_hex(PROCESS_ID_LENGTH // 2))
    statistics: Statistics = field(default_factory=Statistics)
    clock: Callable[[], float] = time.monotonic
    #: Guards channels, queues and groups, from any thread; it is held for a few instructions.
    lock: threading.RLock = field(default_factory=threading.RLock)
