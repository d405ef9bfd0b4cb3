"""The channels of this process: bounded queues of messages, read by an attached consumer or by ``receive()``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from realtime.engine.layer.options import LayerOptions
from realtime.engine.protocol.messages import SharedMessage

logger = logging.getLogger(__name__)

ChannelMessage = dict[str, Any]

#: Reports to a member that it may have missed messages: its queue was full, or the connection to Redis was lost.
RESYNCHRONISE = "layer.resynchronise"


class Subscription:
    """A channel's place in the layer: its messages that wait, oldest first. It is true while there are any.

    A consumer that has attached the channel sets ``direct`` once its connection accepts messages, calls
    ``get_nowait()`` while the subscription is true, and ``close()`` at its end.

    A full queue refuses what comes next: the messages in it stay. The refused ones are counted, and logged once for
    each burst; a burst ends when the queue has been emptied.

    Attributes:
        direct: takes ``websocket.send`` messages straight to the connection; None where they wait in the queue.
        groups: the groups that it is in, or None; ``LocalMembers`` changes them.
        loop: the event loop of the consumer; None where the channel is not attached and any loop may ``receive()``.
        readers: how many ``receive()`` calls are under way.
        kept_until: when the channel leaves its groups unless it is attached or read, on the layer's clock.
    """

    __slots__ = (
        "_close",
        "_messages",
        "_options",
        "_overflowing",
        "_resynchronise",
        "_waiters",
        "_wake",
        "capacity",
        "direct",
        "groups",
        "is_closed",
        "kept_until",
        "loop",
        "name",
        "readers",
    )

    _wake: Callable[[], None]
    _close: Callable[[Subscription], None]

    def __init__(self, name: str, options: LayerOptions) -> None:
        self.name = name
        self.capacity = options.capacity_of(name)
        self.direct: Callable[[SharedMessage], None] | None = None
        self.groups: set[str] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.readers = 0
        self.kept_until = options.clock() + options.group_expiry
        self.is_closed = False
        self._options = options
        self._resynchronise = False
        self._overflowing = False
        # Most channels never wait for their reader: an empty deque for each would take more than half a kilobyte.
        self._messages: deque[tuple[float, ChannelMessage]] | None = None
        self._waiters: tuple[asyncio.Future[None], ...] = ()

    def attach(self, wake: Callable[[], None], close: Callable[[Subscription], None], *, resynchronise: bool) -> None:
        """Give the channel to a consumer of the running event loop; ``close`` is called when it has closed this."""
        self.loop = asyncio.get_running_loop()
        self._wake, self._close, self._resynchronise = wake, close, resynchronise
        if self:
            wake()

    def post(self, message: ChannelMessage) -> bool:
        """Put a message into the queue and wake the reader, from any event loop; returns whether it fitted."""
        options = self._options
        with options.lock:
            if self.is_closed:
                return False
            if self._messages is not None:
                self._drop_expired()
            if len(self._messages or ()) < self.capacity:
                self._append(options.clock() + options.expiry, message)
                return True
            options.statistics.dropped += 1
            if self._overflowing:
                return False
            self._overflowing = True
            self.resynchronise()
        logger.warning(
            "The queue of channel %s is full (%d messages): messages are dropped until its consumer has caught up.",
            self.name,
            self.capacity,
        )
        return False

    def resynchronise(self) -> None:
        """Report to a consumer that handles it, beyond the capacity, that it may miss messages from here on."""
        if self._resynchronise and not self.is_closed:
            with self._options.lock:
                self._options.statistics.resynchronised += 1
                self._append(float("inf"), {"type": RESYNCHRONISE})

    def get_nowait(self) -> ChannelMessage:
        """Take the oldest message; raises ``LookupError`` if the queue is empty."""
        with self._options.lock:
            if not self._messages:
                raise LookupError(f"the queue of channel {self.name} is empty")
            _, message = self._messages.popleft()
            if not self._messages:
                self._messages = None
                self._overflowing = False
            return message

    async def get(self) -> ChannelMessage:
        """Wait for the oldest message and take it, in any event loop; a message wakes all readers, one gets it."""
        while True:
            with self._options.lock:
                if self:
                    return self.get_nowait()
                waiter = asyncio.get_running_loop().create_future()
                self._waiters += (waiter,)
            try:
                await waiter
            finally:
                with self._options.lock:
                    self._waiters = tuple(other for other in self._waiters if other is not waiter)

    def clear(self) -> None:
        """Throw away everything that waits; it is not counted as dropped."""
        with self._options.lock:
            self._messages = None
            self._overflowing = False

    def close(self) -> None:
        """Leave all groups and free the channel; what is left in the queue is thrown away. Harmless if repeated."""
        if not self.is_closed:
            self.is_closed = True
            self.direct = None
            self.clear()
            self._close(self)

    def __len__(self) -> int:
        with self._options.lock:
            if self._messages is not None:
                self._drop_expired()
            return len(self._messages or ())

    def __bool__(self) -> bool:
        return self._messages is not None and len(self) > 0

    # All below are called under the lock.

    def _append(self, deadline: float, message: ChannelMessage) -> None:
        if self._messages is not None:
            self._messages.append((deadline, message))
            return
        self._messages = deque(((deadline, message),))
        if self.loop is not None:
            _call_in(self.loop, self._wake)
            return
        for waiter in self._waiters:
            _call_in(waiter.get_loop(), _wake_reader, waiter)

    def _drop_expired(self) -> None:
        now = self._options.clock()
        while self._messages and self._messages[0][0] <= now:
            self._messages.popleft()
            self._options.statistics.expired += 1
        if not self._messages:
            self.clear()


def _call_in(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *args: Any) -> None:
    if loop is asyncio.get_running_loop():
        callback(*args)
        return
    with contextlib.suppress(RuntimeError):  # the loop is closed, and its readers with it
        loop.call_soon_threadsafe(callback, *args)


def _wake_reader(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
