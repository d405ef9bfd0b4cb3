"""The channel of a hub: events of topics on their way to other processes, and from them."""

from __future__ import annotations

import asyncio
import collections
import contextvars
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from channels.layers import get_channel_layer

from realtime.engine.consumers.mailbox import ConsumerMailbox
from realtime.engine.layer import spans_processes
from realtime.engine.monitoring.tracing import Carrier, continuing, current_trace, trace_mail
from realtime.engine.topics import events
from realtime.engine.topics.limits import limits

logger = logging.getLogger("realtime.topics")


class HubChannel:
    """A channel in the fan-out groups of the topics that a process has subscribers of.

    Args:
        handle: called with each event.
        stopped: called when the channel has stopped; ``open()`` opens it again.
    """

    def __init__(self, handle: Callable[[events.Event], Awaitable[None]], stopped: Callable[[], None]) -> None:
        self._handle = handle
        self._stopped = stopped
        self._layer: Any = None
        self._name = ""
        self._mailbox: ConsumerMailbox | None = None
        #: When Redis hangs, the oldest are dropped: other processes read them from the store.
        self._outgoing: collections.deque[tuple[str, Iterable[events.Event], Carrier | None]] = collections.deque(
            maxlen=limits().outgoing
        )
        self._publishing: asyncio.Task[None] | None = None

    @property
    def spans_processes(self) -> bool:
        """Whether events reach other processes."""
        return spans_processes(self._layer)

    async def open(self, topics: Iterable[str]) -> None:
        """Begin to receive the events of ``topics``, unless the channel is open."""
        if self._mailbox is not None:
            return
        self._layer = get_channel_layer()
        self._name = await self._layer.new_channel()
        self._mailbox = ConsumerMailbox(
            trace_mail(self._handle), asyncio.Lock(), self._handling_failed, contextvars.Context()
        )
        self._mailbox.subscribe(self._layer, self._name, resynchronise=True)
        for topic in topics:
            await self.add(topic)

    async def add(self, topic: str) -> None:
        """Receive the events of a topic."""
        await self._layer.group_add(events.fanout_group(topic), self._name)

    async def discard(self, topic: str) -> None:
        """Receive no events of a topic any more."""
        await self._layer.group_discard(events.fanout_group(topic), self._name)

    async def close(self) -> None:
        """Receive nothing any more."""
        if self._mailbox is not None:
            await self._mailbox.close()
            self._mailbox = None

    def publish(self, topic: str, news: Iterable[events.Event]) -> None:
        """Queue events, which are sent one after the other."""
        self._outgoing.append((topic, news, current_trace()))
        if self._publishing is None:
            self._publishing = asyncio.create_task(self._publish_all(), context=contextvars.Context())

    async def _publish_all(self) -> None:
        try:
            while self._outgoing:
                topic, news, trace = self._outgoing.popleft()
                with continuing(trace):
                    await events.send(topic, news)
        finally:
            self._publishing = None

    def _handling_failed(self, error: BaseException) -> None:
        logger.error("the topics' channel has stopped; it is opened again", exc_info=error)
        self._mailbox = None
        self._stopped()
