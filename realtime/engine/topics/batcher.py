"""Gathers what many connections want to store into few transactions.

While one batch is being stored, the next one fills. A single item is stored at once.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from realtime.engine.monitoring.tracing import Carrier, batch_span, current_trace

logger = logging.getLogger("realtime.topics")

Item = TypeVar("Item")
Result = TypeVar("Result")


#: A queued item, the callback for its result, and the span that it belongs to.
Waiting = tuple[Item, Callable[[Result], None], Carrier | None]


class Batcher(Generic[Item, Result]):
    """Stores items in the order in which they were submitted.

    Args:
        name: of the spans of its batches.
        store: stores a batch and returns one result for each item, in the same order.
        failed: the result of an item whose batch could not be stored.
        size: items in one batch, at most.
        capacity: items that may wait, before ``submit()`` waits.
    """

    def __init__(
        self,
        name: str,
        store: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        failed: Callable[[Item], Result],
        size: int,
        capacity: int,
    ) -> None:
        self._name = name
        self._store = store
        self._failed = failed
        self._size = size
        self._capacity = capacity
        self._waiting: collections.deque[Waiting[Item, Result]] = collections.deque()
        self._room = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: Item, done: Callable[[Result], None]) -> None:
        """Queue an item; waits while too many are queued.

        Args:
            item: what to store.
            done: called once with the result, in the event loop; must not raise.
        """
        if len(self._waiting) >= self._capacity:
            async with self._room:
                await self._room.wait_for(lambda: len(self._waiting) < self._capacity)
        self._waiting.append((item, done, current_trace()))
        if self._task is None:
            # In a context of its own: it stores items of other connections too.
            self._task = asyncio.create_task(self._run(), context=contextvars.Context())

    async def perform(self, item: Item) -> Result:
        """Store an item and return its result. It is stored even if the caller is cancelled."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        await self.submit(item, lambda value: None if result.done() else result.set_result(value))
        return await result

    async def _run(self) -> None:
        try:
            while self._waiting:
                count = min(self._size, len(self._waiting))
                batch = [self._waiting.popleft() for _ in range(count)]
                results: Sequence[Result]
                try:
                    with batch_span(self._name, [trace for _, _, trace in batch]):
                        results = await self._store([item for item, _, _ in batch])
                except Exception:
                    # Each caller gets the outcome of its item; the cause is logged once.
                    logger.exception("a batch of %d could not be stored", len(batch))
                    results = [self._failed(item) for item, _, _ in batch]
                async with self._room:
                    self._room.notify_all()
                for (_, done, _), result in zip(batch, results, strict=True):
                    done(result)
        finally:
            self._task = None
