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


class ChannelQueue:
    """Messages that wait for the reader of one channel, oldest first; true while there are any.

    A full queue refuses what comes next: the messages in it stay. The refused ones are counted, and logged once for
    each burst; a burst ends when the reader has emptied the queue.

    Args:
        loop: the event loop in which the channel is read; None where any loop may read it.
        resynchronise: put one ``layer.resynchronise`` behind the last message that fitted, beyond the capacity.

    Attributes:
        direct: takes ``websocket.send`` messages straight to the connection; None where they wait in the queue.
    """

    __slots__ = ("_messages", "_options", "_overflowing", "_resynchronise", "capacity", "direct", "loop", "name")

    def __init__(
        self,
        name: str,
        options: LayerOptions,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        resynchronise: bool = False,
    ) -> None:
        self.name = name
        self.capacity = options.capacity_of(name)
        self.loop = loop
        self.direct: Callable[[SharedMessage], None] | None = None
        self._options = options
        self._resynchronise = resynchronise
        self._overflowing = False
        # Most channels never wait for their reader: an empty deque for each would take more than half a kilobyte.
        self._messages: deque[tuple[float, ChannelMessage]] | None = None

    def post(self, message: ChannelMessage) -> bool:
        """Put a message into the queue and wake its reader, from any thread; returns whether it fitted."""
        return self.put(message) > 0

    def resynchronise(self) -> None:
        """Report that messages may be missing to a reader that handles that: a stock consumer does not."""

    def put(self, message: ChannelMessage) -> int:
        """Add a message; returns how many there are now, or 0 where the queue is full and has refused it."""
        options = self._options
        with options.lock:
            self._drop_expired()
            messages = self._messages = self._messages or deque()
            if len(messages) < self.capacity:
                messages.append((options.clock() + options.expiry, message))
                return len(messages)
            options.statistics.dropped += 1
            if self._overflowing:
                return 0
            self._overflowing = True
            if self._resynchronise:
                self.put_resynchronise()
        logger.warning(
            "The queue of channel %s is full (%d messages): messages are dropped until its consumer has caught up.",
            self.name,
            self.capacity,
        )
        return 0

    def put_resynchronise(self) -> int:
        """Add a ``layer.resynchronise`` message beyond the capacity; returns how many messages there are now."""
        with self._options.lock:
            self._messages = self._messages or deque()
            self._messages.append((float("inf"), {"type": RESYNCHRONISE}))
            self._options.statistics.resynchronised += 1
            return len(self._messages)

    def get_nowait(self) -> ChannelMessage:
        """Take the oldest message; raises ``LookupError`` if the queue is empty."""
        with self._options.lock:
            if not self._messages:
                raise LookupError(f"the queue of channel {self.name} is empty")
            _, message = self._messages.popleft()
            self._end_burst()
            return message

    def clear(self) -> None:
        """Throw away everything that waits; it is not counted as dropped."""
        with self._options.lock:
            self._messages = None
            self._overflowing = False

    def __len__(self) -> int:
        with self._options.lock:
            self._drop_expired()
            return len(self._messages) if self._messages is not None else 0

    def __bool__(self) -> bool:
        return self._messages is not None and len(self) > 0

    def _drop_expired(self) -> None:
        if self._messages is not None:
            now = self._options.clock()
            while self._messages and self._messages[0][0] <= now:
                self._messages.popleft()
                self._options.statistics.expired += 1
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
        options: LayerOptions,
        *,
        wake: Callable[[], None],
        close: Callable[[Subscription], None],
        resynchronise: bool,
    ) -> None:
        super().__init__(name, options, asyncio.get_running_loop(), resynchronise=resynchronise)
        self._wake = wake
        self._close = close
        self.is_closed = False

    def post(self, message: ChannelMessage) -> bool:
        count = 0 if self.is_closed else self.put(message)
        if count == 1:
            self._call_wake()
        return count > 0

    def resynchronise(self) -> None:
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

    def __init__(self, name: str, options: LayerOptions) -> None:
        super().__init__(name, options)
        self.kept_until = options.clock() + options.group_expiry
        self.readers = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    def post(self, message: ChannelMessage) -> bool:
        with self._options.lock:
            has_room = super().post(message)
            if has_room:
                self._wake_one()
            return has_room

    async def get(self) -> ChannelMessage:
        """Wait for the oldest message and take it; several readers take turns."""
        while True:
            with self._options.lock:
                if self:
                    return self.get_nowait()
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                with self._options.lock, contextlib.suppress(ValueError):
                    self._waiters.remove(waiter)
                if not waiter.cancelled():
                    self._wake_one()  # the message that this reader was woken for is the next one's
                raise

    def _wake_one(self) -> None:
        with self._options.lock:
            while self._waiters:
                waiter = self._waiters.popleft()
                if waiter.get_loop() is _running_loop():
                    if not waiter.done():
                        waiter.set_result(None)
                        return
                    continue
                with contextlib.suppress(RuntimeError):  # closed: its reader is gone
                    waiter.get_loop().call_soon_threadsafe(self._wake, waiter)
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
