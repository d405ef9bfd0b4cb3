"""Delivers channel-layer messages to a consumer, one at a time, in turn with its client messages.

The fan-out layer wakes the consumer, or writes to its connection directly. On any other Channels backend a task waits
for messages, as in Channels itself.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from realtime.engine.protocol.messages import SharedMessage

if TYPE_CHECKING:
    from realtime.engine.layer import Subscription

__all__ = ["ConsumerMailbox"]

#: Broadcasts that may wait for a peer on a server that cannot queue them itself.
OUTBOX_CAPACITY = 1000

Event = dict[str, Any]


class ConsumerMailbox:
    """The channel-layer messages of one consumer.

    Args:
        handle: the consumer's ``dispatch``; called with one message at a time.
        turn: held while a message is handled; the consumer holds it for its client messages.
        fail: called with the exception of a handler or of a layer's ``receive``; nothing is handled after it.
        context: the context of the handlers; by default the current one. It is never that of a sender.
    """

    def __init__(
        self,
        handle: Callable[[Event], Awaitable[None]],
        turn: asyncio.Lock,
        fail: Callable[[BaseException], None],
        context: contextvars.Context | None = None,
    ) -> None:
        self._handle = handle
        self._context = contextvars.copy_context() if context is None else context
        self._turn = turn
        self._fail = fail
        self._subscription: Subscription | None = None
        #: Made when it is needed: with the extension it never is, and an empty deque takes 600 bytes.
        self._outbox: collections.deque[Event] | None = None
        self._is_full = self._is_closed = False
        self._task: asyncio.Task[None] | None = None
        self._receiver: asyncio.Task[None] | None = None
        self._write: Callable[[SharedMessage], None] | None = None

    def subscribe(self, layer: Any, channel_name: str, *, resynchronise: bool) -> None:
        """Begin to receive what is sent to ``channel_name``, a channel of ``layer``, and to the groups it joins.

        Args:
            layer: a channel-layer backend.
            channel_name: from ``layer.new_channel()``.
            resynchronise: whether the consumer handles ``layer.resynchronise``.
        """
        if hasattr(layer, "attach"):
            self._subscription = layer.attach(channel_name, wake=self._wake, resynchronise=resynchronise)
        else:
            self._receiver = asyncio.create_task(self._receive(layer, channel_name), context=self._context)

    def open(self, write: Callable[[SharedMessage], None] | None) -> None:
        """Send broadcasts straight to ``write``, the accepted connection's ``send_nowait``, after the older ones."""
        self._write = write
        if self._task is None:
            self._go_direct()

    def put(self, message: SharedMessage) -> bool:
        """Queue a broadcast for a connection without a ``write`` of its own.

        Returns False once, when the peer does not keep up. From then on nothing is queued.
        """
        if self._is_full:
            return True
        if self._outbox is None:
            self._outbox = collections.deque()
        if len(self._outbox) >= OUTBOX_CAPACITY:
            self._is_full = True
            self._outbox.clear()
            return False
        self._outbox.append(message.as_event())
        self._wake()
        return True

    async def close(self) -> None:
        """Cancel the handler that runs and wait for it, then leave every group and free the channel."""
        self._is_closed = True
        tasks = [task for task in (self._task, self._receiver) if task is not None]
        for task in tasks:
            task.cancel()
        try:
            if tasks:
                await asyncio.wait(tasks)
        finally:
            if self._subscription is not None:
                self._subscription.close()

    def _go_direct(self) -> None:
        if self._subscription is not None and self._write is not None:
            self._subscription.direct = self._write

    def _wake(self) -> None:
        """Start one task for a burst of messages, unless it runs already."""
        if self._task is None and not self._is_closed:
            self._task = asyncio.create_task(self._run(), context=self._context)

    async def _run(self) -> None:
        try:
            while (message := self._next()) is not None:
                async with self._turn:
                    await self._handle(message)
        except Exception as error:  # noqa: BLE001  handed to the connection's own task
            self._fail(error)
        else:
            self._task = None
            self._go_direct()

    def _next(self) -> Event | None:
        if self._is_closed:
            return None
        if self._subscription:  # true while messages wait in it
            return self._subscription.get_nowait()
        return self._outbox.popleft() if self._outbox else None

    async def _receive(self, layer: Any, channel_name: str) -> None:
        """Wait for messages on a layer that cannot wake the consumer; the layer's capacity is the bound."""
        try:
            while True:
                message = await layer.receive(channel_name)
                async with self._turn:
                    await self._handle(message)
        except Exception as error:  # noqa: BLE001  handed to the connection's own task, which would get nothing more
            self._fail(error)
