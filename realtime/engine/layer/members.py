"""The two kinds of member that a channel can belong to: an attached consumer and a stock one."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from realtime.engine.layer.channel_queue import Mailbox, MailboxRules
from realtime.engine.messages import SharedMessage

__all__ = ["Member", "Queue", "Subscription"]


class Member(ABC):
    """A channel of this process.

    Attributes:
        mailbox: what waits for the consumer.
        direct: takes ``websocket.send`` messages straight to the connection; None where they go to the mailbox.
        loop: the event loop in which the member is reached; None where any thread may.
    """

    __slots__ = ("direct", "loop", "mailbox")

    def __init__(self, mailbox: Mailbox, loop: asyncio.AbstractEventLoop | None) -> None:
        self.mailbox = mailbox
        self.loop = loop
        self.direct: Callable[[SharedMessage], None] | None = None

    @property
    def channel_name(self) -> str:
        """The channel's name."""
        return self.mailbox.name

    @abstractmethod
    def post(self, message: dict[str, Any]) -> bool:
        """Put a message into the mailbox, from any thread; returns whether it fitted."""

    @abstractmethod
    def resynchronise(self) -> None:
        """Tell the member that it may have missed something, if it wants to know."""


class Subscription(Member):
    """A consumer's place in the layer, from ``FanoutChannelLayer.attach()``.

    The consumer sets ``direct`` once its connection accepts messages, takes its mail by ``mailbox.get_nowait()``
    while ``mailbox`` is true, and calls ``close()`` at its end.
    """

    __slots__ = ("_close", "_wake", "is_closed", "wants_resynchronise")

    loop: asyncio.AbstractEventLoop

    def __init__(
        self,
        channel_name: str,
        capacity: int,
        rules: MailboxRules,
        *,
        wake: Callable[[], None],
        close: Callable[[Subscription], None],
        loop: asyncio.AbstractEventLoop,
        resynchronise: bool,
    ) -> None:
        super().__init__(Mailbox(channel_name, capacity, rules, tell_of_loss=resynchronise), loop)
        self._wake = wake
        self._close = close
        self.is_closed = False
        self.wants_resynchronise = resynchronise

    def post(self, message: dict[str, Any]) -> bool:
        """Put a message into the mailbox, from any thread; the consumer is woken if it was empty."""
        if self.is_closed:
            return False
        count = self.mailbox.put(message)
        if count == 1:
            self._call_wake()
        return count > 0

    def resynchronise(self) -> None:
        """Put ``layer.resynchronise`` into the mailbox of a consumer that handles it."""
        if self.wants_resynchronise and not self.is_closed and self.mailbox.tell_of_loss() == 1:
            self._call_wake()

    def close(self) -> None:
        """Leave all groups and free the channel; what is left in the mailbox is thrown away. Harmless if repeated."""
        if not self.is_closed:
            self.is_closed = True
            self.direct = None
            self.mailbox.clear()
            self._close(self)

    def _call_wake(self) -> None:
        if _running_loop() is self.loop:
            self._wake()
            return
        # A closed loop has no consumers any more.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._wake)


class Queue(Member):
    """A channel that is read by ``receive()``, from any event loop.

    Args:
        mailbox: holds the messages.

    Attributes:
        kept_until: when its memberships end unless somebody reads it, on the layer's clock.
        readers: how many ``receive()`` calls are under way.
    """

    __slots__ = ("_waiters", "kept_until", "readers")

    def __init__(self, mailbox: Mailbox, kept_until: float) -> None:
        super().__init__(mailbox, None)
        self.kept_until = kept_until
        self.readers = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    def post(self, message: dict[str, Any]) -> bool:
        """Put a message into the mailbox, from any thread; one reader is woken."""
        if not self.mailbox.put(message):
            return False
        self._wake_one()
        return True

    def resynchronise(self) -> None:
        """Do nothing: a stock consumer has no handler for it, and would fail."""

    async def get(self) -> dict[str, Any]:
        """Wait for the oldest message and take it; several readers take turns."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(LookupError):
                if self.mailbox:
                    return self.mailbox.get_nowait()
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiters.append(waiter)
            try:
                # A message that came between the look and the registration has woken nobody.
                if not self.mailbox:
                    await waiter
            except BaseException:
                if waiter.done() and not waiter.cancelled():
                    self._wake_one()  # the message that this reader was woken for is the next one's
                raise
            finally:
                with contextlib.suppress(ValueError):
                    self._waiters.remove(waiter)

    def fail(self, error: BaseException) -> None:
        """Let every ``get()`` that waits raise ``error``, from any thread."""
        while self._waiters:
            waiter = self._waiters.popleft()
            with contextlib.suppress(RuntimeError):  # a closed loop has no readers any more
                waiter.get_loop().call_soon_threadsafe(_set_exception, waiter, error)

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


def _set_exception(waiter: asyncio.Future[None], error: BaseException) -> None:
    if not waiter.done():
        waiter.set_exception(error)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
