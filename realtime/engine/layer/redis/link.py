"""The tie between one process and the others: what it hears of them, and what it says to them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from realtime.engine.layer.redis.hosts import Hosts
from realtime.engine.layer.redis.outbox import Outbox
from realtime.engine.layer.redis.subscriber import Subscriber, Timing
from realtime.engine.layer.statistics import Statistics

__all__ = ["Link"]

logger = logging.getLogger(__name__)


class Link:
    """One subscriber and one outbox for each Redis server, at work in the event loop that made it.

    Args:
        hosts: the servers.
        names: what to subscribe to from the start.
        is_deserted: tells whether nobody wants to hear a name.
        on_message: called in this loop with each message of another process.
        on_members: called in this loop with each message that was published, and the members of its name's set.
        on_back: called in this loop when a lost connection is up again.
        statistics: where everything is counted.
        timing: how long to wait for Redis.
        expiry: seconds for which a message may wait for Redis.
    """

    def __init__(
        self,
        hosts: Hosts,
        names: Iterable[str],
        *,
        is_deserted: Callable[[str], bool],
        on_message: Callable[[bytes], Awaitable[None]],
        on_members: Callable[[str, bytes, list[str]], Awaitable[None]],
        on_back: Callable[[], Awaitable[None]],
        statistics: Statistics,
        timing: Timing,
        expiry: float,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._hosts = hosts
        self._timing = timing
        by_shard: list[list[str]] = [[] for _ in hosts]
        for name in names:
            by_shard[hosts.shard(name)].append(name)
        self._subscribers = [
            Subscriber(
                host,
                wanted,
                is_deserted=is_deserted,
                on_message=on_message,
                on_back=on_back,
                statistics=statistics,
                timing=timing,
            )
            for host, wanted in zip(hosts, by_shard, strict=True)
        ]
        self._outboxes = [
            Outbox(
                host,
                subscriber.wait_until_up,
                on_members=on_members,
                statistics=statistics,
                expiry=expiry,
                patience=timing.command,
            )
            for host, subscriber in zip(hosts, self._subscribers, strict=True)
        ]
        self._task = self.loop.create_task(self._run(), name="realtime-layer-link")
        self._task.add_done_callback(_report)

    @property
    def is_alive(self) -> bool:
        """Whether it is at work: its event loop runs, and it has not been stopped."""
        return not self._task.done() and self.loop.is_running()

    @property
    def is_up(self) -> bool:
        """Whether every server is connected."""
        return all(subscriber.is_up for subscriber in self._subscribers)

    async def wait_for_first_attempt(self) -> None:
        """Wait, in any event loop, until it is known whether the servers can be reached."""
        for subscriber in self._subscribers:
            await self._in_loop(subscriber.wait_for_first_attempt())

    async def subscribe(self, name: str) -> None:
        """Hear what is published on ``name``; from any event loop.

        Raises:
            UpstreamUnavailable: if its server has not been reached since the start of the process.
        """
        await self._in_loop(self._subscribers[self._hosts.shard(name)].subscribe(name))

    def unsubscribe(self, name: str) -> None:
        """Stop hearing ``name`` some seconds later, if it is deserted then; from any event loop."""
        with contextlib.suppress(RuntimeError):  # a closed loop hears nothing any more
            self.loop.call_soon_threadsafe(self._subscribers[self._hosts.shard(name)].unsubscribe, name)

    async def publish(self, name: str, payload: bytes) -> None:
        """Publish on ``name``, soon; from any event loop."""
        await self._outboxes[self._hosts.shard(name)].publish(name, payload)

    async def settle(self) -> None:
        """Wait until what was published before has reached Redis or is lost, but not for long; from any event loop."""
        for outbox in self._outboxes:
            await outbox.settle()

    def stop(self) -> None:
        """End its work; from any thread."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._task.cancel)

    async def aclose(self) -> None:
        """End its work, in its own event loop, and wait for that."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for shard, (subscriber, outbox) in enumerate(zip(self._subscribers, self._outboxes, strict=True)):
                tasks.create_task(subscriber.run(), name=f"realtime-layer-subscriber-{shard}")
                tasks.create_task(outbox.run(), name=f"realtime-layer-outbox-{shard}")

    async def _in_loop(self, coroutine: Coroutine[Any, Any, None]) -> None:
        if asyncio.get_running_loop() is self.loop:
            await coroutine
            return
        there = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self.loop))
        done, _ = await asyncio.wait([there], timeout=self._timing.connect + self._timing.command)
        if done:
            there.result()
        else:
            logger.warning("The event loop that hears the other processes is held up; what was asked of it comes late.")


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.critical("The link to the other processes has failed.", exc_info=task.exception())
