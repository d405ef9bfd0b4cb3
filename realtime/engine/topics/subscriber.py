"""One connection in one topic, and what its fan-out asks the class of its consumer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from realtime.engine.protocol.messages import SharedMessage
from realtime.engine.topics.limits import limits
from realtime.engine.topics.presence import Transition

if TYPE_CHECKING:
    from realtime.engine.topics.fanout import TopicFanout

__all__ = ["Endpoint", "Subscriber"]


class Endpoint(Protocol):
    """What a fan-out asks the class of its subscribers' consumers."""

    async def authorize_subscribers(self, fanout: TopicFanout, subscribers: Sequence[Subscriber]) -> int:
        """End what may not be here any longer; return the version of the rights that were read."""

    def encode_presence(self, transition: Transition) -> str | None:
        """Return what subscribers get of a transition, None for nothing."""


@dataclass(slots=True, eq=False)
class Subscriber:
    """One connection in one topic.

    Args:
        connection: identity of the connection.
        endpoint: the class of the connection's consumer.
        access: version of the rights under which it was authorized.
        send: queues a message for the connection, without waiting.
        ended: called with the subscriber when its fan-out has ended it.
        grant: what the endpoint keeps about the subscription.
        consumer: the connection's consumer.
        key: identity in presence; None for a subscriber that is not listed there.
        metadata: what the others see of it in presence.
    """

    connection: str
    endpoint: Endpoint
    access: int
    send: Callable[[SharedMessage], None]
    ended: Callable[[Subscriber], None]
    grant: Any = None
    consumer: Any = None
    key: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    #: Since when it is present, a POSIX time in seconds.
    since: float = 0.0
    #: Set by ``TopicFanout.enter()``.
    fanout: TopicFanout = field(init=False)
    #: Every message after this number is for the subscriber; none is while it comes.
    position: float = math.inf
    #: What has no number, and waits until the subscriber has come.
    held: list[SharedMessage] = field(default_factory=list)

    def notify(self, shared: SharedMessage) -> None:
        """Send something that has no number; a subscriber that comes too slowly misses it."""
        if self.position < math.inf:
            self.send(shared)
        elif len(self.held) < limits().held:
            self.held.append(shared)
