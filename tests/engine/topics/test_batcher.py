"""Many items, few transactions, and an outcome for each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import pytest

from realtime.engine.topics.batcher import Batcher


class Store:
    """Stores batches when the test lets it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.fails = False
        self._gate = asyncio.Event()
        self._gate.set()

    def hold(self) -> None:
        """Let the next batch wait."""
        self._gate.clear()

    def release(self) -> None:
        """Let everything through."""
        self._gate.set()

    async def __call__(self, items: Sequence[int]) -> list[str]:
        self.batches.append(list(items))
        await self._gate.wait()
        if self.fails:
            raise ValueError("the database is away")
        return [f"stored {item}" for item in items]


def gather(
    store: Store, *, size: int = 500, capacity: int = 5000
) -> tuple[Batcher[int, str], list[str], Callable[[str], None]]:
    """Return a batcher, its outcomes, and where it puts them."""
    outcomes: list[str] = []
    batcher: Batcher[int, str] = Batcher(
        "batch", store, failed=lambda item: f"failed {item}", size=size, capacity=capacity
    )
    return batcher, outcomes, outcomes.append


async def test_what_comes_while_a_batch_is_stored_is_the_next_batch() -> None:
    store = Store()
    batcher, outcomes, done = gather(store)
    store.hold()
    await batcher.submit(1, done)
    await asyncio.sleep(0)
    for item in (2, 3):
        await batcher.submit(item, done)
    last = asyncio.create_task(batcher.perform(4))
    await asyncio.sleep(0)
    store.release()
    assert await last == "stored 4"
    assert store.batches == [[1], [2, 3, 4]]
    assert outcomes == [f"stored {item}" for item in (1, 2, 3)]


async def test_a_batch_has_a_largest_size() -> None:
    store = Store()
    batcher, outcomes, done = gather(store, size=2)
    for item in range(4):
        await batcher.submit(item, done)
    await batcher.perform(4)
    assert store.batches == [[0, 1], [2, 3], [4]]
    assert len(outcomes) == 4


async def test_a_batch_that_fails_answers_each_of_its_items_and_the_next_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store()
    batcher, _, _ = gather(store)
    store.fails = True
    with caplog.at_level(logging.ERROR):
        assert await batcher.perform(1) == "failed 1"
    assert "could not be stored" in caplog.text
    store.fails = False
    assert await batcher.perform(2) == "stored 2"


async def test_a_full_queue_makes_its_sender_wait() -> None:
    store = Store()
    batcher, outcomes, done = gather(store, capacity=2)
    store.hold()
    await batcher.submit(0, done)
    await asyncio.sleep(0)
    await batcher.submit(1, done)
    await batcher.submit(2, done)
    late = asyncio.create_task(batcher.submit(3, done))
    await asyncio.sleep(0)
    assert not late.done()
    store.release()
    await late
    await batcher.perform(4)
    assert outcomes == [f"stored {item}" for item in range(4)]


async def test_an_item_is_stored_when_its_sender_has_gone() -> None:
    store = Store()
    batcher, _, _ = gather(store)
    store.hold()
    sender = asyncio.create_task(batcher.perform(1))
    await asyncio.sleep(0)
    sender.cancel()
    store.release()
    await batcher.perform(2)
    assert store.batches == [[1, 2]]
