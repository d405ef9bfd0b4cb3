"""Messages on their way to one Redis server: bounded, in order, many in one round trip.

A sender does not wait for Redis: its local members have the message already, and a server that hangs must not
hang a consumer. During an outage messages wait here, for as long as the layer's ``expiry`` allows.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

from redis.exceptions import ResponseError

from realtime.engine.layer.fanout import Done, finish
from realtime.engine.layer.options import LayerOptions
from realtime.engine.layer.redis.hosts import Host, close_pool
from realtime.engine.protocol.errors import UpstreamUnavailable

logger = logging.getLogger(__name__)

#: How much may wait to be published; beyond that a sender waits, and then its message is lost for the others.
MAX_WAITING_BYTES = 1024 * 1024

#: Messages that are published in one round trip.
BATCH = 256

#: Seconds before the next messages after a failure: most of them find the server back.
BACK_OFF = 0.1

#: Seconds that a stopping process gives to what is still waiting.
LAST_TIMEOUT = 0.5


class Publisher:
    """Publishes in the order of the calls, on one connection that it keeps from one message to the next.

    To borrow a connection from a pool and to fill a pipeline for each message would cost three times the message.
    ``on_members`` is called with each message that was published to a group with named channels, and these channels.
    """

    def __init__(
        self,
        host: Host,
        options: LayerOptions,
        wait_until_up: Callable[[], Awaitable[object]],
        on_members: Callable[[str, bytes, list[str]], Awaitable[None]],
    ) -> None:
        self._host = host
        self._wait_until_up = wait_until_up
        self._on_members = on_members
        self.statistics = options.statistics
        self._expiry = options.expiry
        self._timeout = options.timing.command
        self._pool = host.pool()  # a connection by Sentinel refers to it weakly
        self._connection: Any = self._pool.make_connection()
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        #: Messages with the time until which they may wait, and behind them what ``settle()`` waits for.
        self._waiting: deque[tuple[float, str, bytes] | Done] = deque()
        self._bytes = 0
        self._has_messages = asyncio.Event()
        self._is_idle = True
        self._is_losing = False

    async def publish(self, channel: str, payload: bytes) -> None:
        """Take a message for publication, from any event loop; waits only where too much is waiting already."""
        if self._put(channel, payload):
            return
        try:
            async with asyncio.timeout(self._timeout):
                while not self._put(channel, payload):
                    await self.settle()
        except TimeoutError:
            self._lose(1, f"more than {MAX_WAITING_BYTES} bytes wait for it")

    async def settle(self) -> None:
        """Wait, from any event loop, until what was given before is published or lost; for ``timeout`` at most."""
        with self._lock:
            if self._is_idle:
                return
            done = Done()
            self._waiting.append(done)
        self._wake()
        await asyncio.wait([asyncio.wrap_future(done)], timeout=self._timeout)

    async def run(self) -> None:
        """Publish what comes until cancelled, then what is left, for half a second."""
        task = asyncio.current_task()
        assert task is not None
        try:
            while not task.cancelling():  # redis-py reports some cancellations as errors while it asks Sentinel
                await self._has_messages.wait()
                # Let the loop look at the sockets: a connection that Redis has closed is noticed only then.
                await asyncio.sleep(0)
                await self._wait_until_up()
                await self._publish_next()
        finally:
            try:
                if self._waiting:
                    self._timeout = LAST_TIMEOUT
                    await self._publish_next()
            finally:
                await self._connection.disconnect(nowait=True)
                await close_pool(self._pool)

    def _put(self, channel: str, payload: bytes) -> bool:
        with self._lock:
            # The one message that is larger than the limit goes too.
            if self._waiting and self._bytes + len(payload) > MAX_WAITING_BYTES:
                return False
            self._waiting.append((self._loop.time() + self._expiry, channel, payload))
            self._bytes += len(payload)
            self._is_idle = False
            is_first = len(self._waiting) == 1
        if is_first:
            self._wake()
        return True

    def _wake(self) -> None:
        if asyncio.get_running_loop() is self._loop:
            self._has_messages.set()
        else:
            self._loop.call_soon_threadsafe(self._has_messages.set)

    async def _publish_next(self) -> None:
        batch, marks = self._take()
        try:
            if batch:
                await self._publish_batch(batch)
        finally:
            with self._lock:
                self._is_idle = not self._waiting
            for mark in marks:
                finish(mark)

    def _take(self) -> tuple[list[tuple[str, bytes]], list[Done]]:
        now = self._loop.time()
        batch: list[tuple[str, bytes]] = []
        marks = []
        expired = 0
        with self._lock:
            while self._waiting and len(batch) < BATCH:
                waiting = self._waiting.popleft()
                if isinstance(waiting, Future):
                    marks.append(waiting)
                    continue
                deadline, channel, payload = waiting
                self._bytes -= len(payload)
                if deadline <= now:
                    expired += 1
                else:
                    batch.append((channel, payload))
            if not self._waiting:
                self._has_messages.clear()
        if expired:
            self._lose(expired, f"they have waited for more than {self._expiry:g} s")
        return batch, marks

    async def _publish_batch(self, batch: list[tuple[str, bytes]]) -> None:
        try:
            async with self._host.reached_within(self._timeout):
                refusals, members = await self._send(batch)
        except UpstreamUnavailable as error:
            # Not sent again: some of it may have arrived, and a message that comes twice is worse than one that is
            # reported as lost.
            self._lose(len(batch), str(error))
            await asyncio.sleep(BACK_OFF)
            return
        self.statistics.published += len(batch) - len(refusals)
        if refusals:
            self._lose(len(refusals), f"Redis at {self._host} refuses them: {refusals[-1]}")
        else:
            self._is_losing = False
        for name, payload in batch:
            if members[name]:
                try:
                    await self._on_members(name, payload, members[name])
                except UpstreamUnavailable as error:
                    self._lose(1, str(error))

    async def _send(self, batch: list[tuple[str, bytes]]) -> tuple[list[ResponseError], dict[str, list[str]]]:
        """Publish in one round trip; return what the server refused, and the named channels of each group."""
        connection = self._connection
        # Every answer has been read: what there is to read is the end of the connection.
        if connection.is_connected and await connection.can_read():
            await connection.disconnect(nowait=True)
        if not connection.is_connected:
            await connection.connect()  # not left to sending, which would not ask Sentinel for the server
        names = dict.fromkeys(channel for channel, _ in batch)
        commands: list[tuple[str | bytes, ...]] = [("PUBLISH", channel, payload) for channel, payload in batch]
        commands += [("SMEMBERS", name) for name in names]
        await connection.send_packed_command(connection.pack_commands(commands))
        refusals = []
        for _ in batch:
            try:
                await connection.read_response()
            except ResponseError as error:
                refusals.append(error)
        return refusals, {name: [member.decode() for member in await connection.read_response()] for name in names}

    def _lose(self, count: int, reason: str) -> None:
        self.statistics.unpublished += count
        if not self._is_losing:
            self._is_losing = True
            logger.warning("Messages to other processes are lost, since %s.", reason)
