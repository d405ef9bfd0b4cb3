"""The channels of this process: bounded queues of messages, read by an attached consumer or by ``receive()``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from realtime.engine.layer.statistics import Statistics
from realtime.engine.messages import SharedMessage

__all__ = ["RESYNCHRONISE", "ChannelQueue", "QueueRules", "ReaderQueue", "Subscription"]

logger = logging.getLogger(__name__)

ChannelMessage = dict[str, Any]

#: Reports to a member that it may have missed messages: its queue was full, or the connection to Redis was lost.
RESYNCHRONISE = "layer.resynchronise"


@dataclass(slots=True)
class QueueRules:
    """What all queues of a layer have in common.

    Args:
        expiry: seconds after which a message that nobody took is dropped.
        statistics: where drops are counted.
        clock: a monotonic clock in seconds.
        lock: guards every queue; a queue is filled from any thread, and its critical sections are a few instructions
            long.
    """

    expiry: float
    statistics: Statistics
    clock: Callable[[], float] = time.monotonic
    lock: threading.Lock = field(default_factory=threading.Lock)


class ChannelQueue(ABC):
    """Messages that wait for the reader of one channel, oldest first; true while there are any.

    A full queue refuses what comes next: the messages in it stay. The refused ones are counted, and logged once for
    each burst; a burst ends when the reader has emptied the queue.

    Args:
        name: the channel's name.
        capacity: how many messages it holds.
        rules: what all queues of the layer have in common.
        loop: the event loop in which the channel is read; None where any loop may read it.
        resynchronise: put one ``layer.resynchronise`` behind the last message that fitted, so that the consumer
            learns at which point it missed something. That message does not count against the capacity.

    Attributes:
        direct: takes ``websocket.send`` messages straight to the connection; None where they wait in the queue.
    """

    __slots__ = ("_messages", "_overflowing", "_resynchronise", "_rules", "capacity", "direct", "loop", "name")

    def __init__(
        self,
        name: str,
        capacity: int,
        rules: QueueRules,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        resynchronise: bool = False,
    ) -> None:
        self.name = name
        self.capacity = capacity
        self.loop = loop
        self.direct: Callable[[SharedMessage], None] | None = None
        self._rules = rules
        self._resynchronise = resynchronise
        self._overflowing = False
        # Most channels never wait for their reader: an empty deque for each would take more than half a kilobyte.
        self._messages: deque[tuple[float, ChannelMessage]] | None = None

    @abstractmethod
    def post(self, message: ChannelMessage) -> bool:
        """Put a message into the queue and wake its reader, from any thread; returns whether it fitted."""

    def resynchronise(self) -> None:  # noqa: B027  a stock consumer has no handler for it, and would fail
        """Report to the reader that it may have missed something, if it handles that."""

    def put(self, message: ChannelMessage) -> int:
        """Add a message, from any thread.

        Args:
            message: a dict that belongs to this queue from now on.

        Returns:
            How many messages there are now: 1 means that the queue was empty, 0 that it is full and has
            refused the message.
        """
        rules = self._rules
        with rules.lock:
            self._drop_expired()
            messages = self._messages
            if messages is None:
                messages = self._messages = deque()
            if len(messages) < self.capacity:
                messages.append((rules.clock() + rules.expiry, message))
                return len(messages)
            rules.statistics.dropped += 1
            if self._overflowing:
                return 0
            self._overflowing = True
            if self._resynchronise:
                messages.append((float("inf"), {"type": RESYNCHRONISE}))
                rules.statistics.resynchronised += 1
        logger.warning(
            "The queue of channel %s is full (%d messages): messages are dropped until its consumer has caught up.",
            self.name,
            self.capacity,
        )
        return 0

    def put_resynchronise(self) -> int:
        """Add a ``layer.resynchronise`` message beyond the capacity; returns how many messages there are now."""
        with self._rules.lock:
            if self._messages is None:
                self._messages = deque()
            self._messages.append((float("inf"), {"type": RESYNCHRONISE}))
            self._rules.statistics.resynchronised += 1
            return len(self._messages)

    def get_nowait(self) -> ChannelMessage:
        """Take the oldest message.

        Raises:
            LookupError: if the queue is empty.
        """
        with self._rules.lock:
            if not self._messages:
                raise LookupError(f"the queue of channel {self.name} is empty")
            _, message = self._messages.popleft()
            self._end_burst()
            return message

    def clear(self) -> None:
        """Throw away everything that waits; it is not counted as dropped."""
        with self._rules.lock:
            self._messages = None
            self._overflowing = False

    def __len__(self) -> int:
        with self._rules.lock:
            self._drop_expired()
            return len(self._messages) if self._messages is not None else 0

    def __bool__(self) -> bool:
        return self._messages is not None and len(self) > 0

    def _drop_expired(self) -> None:
        messages = self._messages
        if messages is None:
            return
        now = self._rules.clock()
        while messages and messages[0][0] <= now:
            messages.popleft()
            self._rules.statistics.expired += 1
        self._end_burst()

    def _end_burst(self) -> None:
        if not self._messages:
            self._messages = None
            self._overflowing = False


class Subscription(ChannelQueue):
    """A consumer's place in the layer, from ``FanoutChannelLayer.attach()``.

    The consumer sets ``direct`` once its connection accepts messages, calls ``get_nowait()`` while the subscription
    is true, and ``close()`` at its end.
    """

    __slots__ = ("_close", "_wake", "is_closed")

    loop: asyncio.AbstractEventLoop

    def __init__(
        self,
        name: str,
        capacity: int,
        rules: QueueRules,
        *,
        wake: Callable[[], None],
        close: Callable[[Subscription], None],
        resynchronise: bool,
    ) -> None:
        super().__init__(name, capacity, rules, asyncio.get_running_loop(), resynchronise=resynchronise)
        self._wake = wake
        self._close = close
        self.is_closed = False

    def post(self, message: dict[str, Any]) -> bool:
        """Put a message into the queue, from any thread; the consumer is woken if it was empty."""
        if self.is_closed:
            return False
        count = self.put(message)
        if count == 1:
            self._call_wake()
        return count > 0

    def resynchronise(self) -> None:
        """Put ``layer.resynchronise`` into the queue of a consumer that handles it."""
        if self._resynchronise and not self.is_closed and self.put_resynchronise() == 1:
            self._call_wake()

    def close(self) -> None:
        """Leave all groups and free the channel; what is left in the queue is thrown away. Harmless if repeated."""
        if not self.is_closed:
            self.is_closed = True
            self.direct = None
            self.clear()
            self._close(self)

    def _call_wake(self) -> None:
        if _running_loop() is self.loop:
            self._wake()
            return
        # A closed loop has no consumers any more.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._wake)


class ReaderQueue(ChannelQueue):
    """A channel that is read by ``receive()``, from any event loop.

    Attributes:
        kept_until: when its memberships end unless somebody reads it, on the layer's clock.
        readers: how many ``receive()`` calls are under way.
    """

    __slots__ = ("_waiters", "kept_until", "readers")

    def __init__(self, name: str, capacity: int, rules: QueueRules, *, kept_until: float) -> None:
        super().__init__(name, capacity, rules)
        self.kept_until = kept_until
        self.readers = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    def post(self, message: ChannelMessage) -> bool:
        """Put a message into the queue, from any thread; one reader is woken."""
        if not self.put(message):
            return False
        self._wake_one()
        return True

    async def get(self) -> dict[str, Any]:
        """Wait for the oldest message and take it; several readers take turns."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(LookupError):
                if self:
                    return self.get_nowait()
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiters.append(waiter)
            try:
                # A message that came between the look and the registration has woken nobody.
                if not self:
                    await waiter
            except BaseException:
                if waiter.done() and not waiter.cancelled():
                    self._wake_one()  # the message that this reader was woken for is the next one's
                raise
            finally:
                with contextlib.suppress(ValueError):
                    self._waiters.remove(waiter)

    def _wake_one(self) -> None:
        while True:
            try:
                waiter = self._waiters.popleft()
            except IndexError:
                return
            loop = waiter.get_loop()
            if loop is _running_loop():
                if not waiter.done():
                    waiter.set_result(None)
                    return
                continue
            try:
                loop.call_soon_threadsafe(self._wake, waiter)
            except RuntimeError:  # closed: its reader is gone
                continue
            return

    def _wake(self, waiter: asyncio.Future[None]) -> None:
        if waiter.done():
            self._wake_one()  # cancelled meanwhile: the message is the next reader's
        else:
            waiter.set_result(None)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
