"""What a process has to say to the others, on its way to one Redis server."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from realtime.engine.errors import UpstreamUnavailable
from realtime.engine.layer.redis.hosts import Host
from realtime.engine.layer.redis.publisher import Publisher
from realtime.engine.layer.statistics import Statistics

__all__ = ["OUTBOX_BYTES", "Outbox"]

logger = logging.getLogger(__name__)

#: How much may wait to be published; beyond that a sender waits, and then its message is lost for the others.
OUTBOX_BYTES = 1024 * 1024

#: Messages that are published in one round trip.
BATCH = 256

#: Seconds before the next messages after a failure: most of them find the server back.
BACK_OFF = 0.1

#: Seconds that a stopping process gives to what is still waiting.
FAREWELL = 0.5


class Outbox:
    """Publishes in the order in which it was given, many messages in one round trip.

    A sender does not wait for Redis: its local members have the message already, and a server that hangs must not
    hang a consumer. During an outage messages wait here, for as long as the layer's ``expiry`` allows.

    Args:
        host: the server.
        wait_until_up: returns when the server can be reached.
        on_members: called with each message that was published and the channels in the set of its name, if there are
            any.
        statistics: where messages are counted.
        expiry: seconds for which a message may wait.
        patience: seconds for one round trip, and for a sender that waits for room.
    """

    def __init__(
        self,
        host: Host,
        wait_until_up: Callable[[], Awaitable[None]],
        *,
        on_members: Callable[[str, bytes, list[str]], Awaitable[None]],
        statistics: Statistics,
        expiry: float,
        patience: float,
    ) -> None:
        self._host = host
        self._wait_until_up = wait_until_up
        self._on_members = on_members
        self.statistics = statistics
        self._expiry = expiry
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: deque[tuple[float, str, bytes]] = deque()
        self._bytes = 0
        self._has_mail = asyncio.Event()
        self._room: list[concurrent.futures.Future[None]] = []
        self._given = self._settled = 0
        self._settling: list[tuple[int, concurrent.futures.Future[None]]] = []
        self._is_losing = False

    async def publish(self, channel: str, payload: bytes) -> None:
        """Take a message for publication, from any event loop; waits only where too much is waiting already."""
        room = self._put(channel, payload)
        if room is not None and not await self._put_when_there_is_room(room, channel, payload):
            self._lose(1, "the messages that wait for it fill the outbox")

    async def settle(self) -> None:
        """Wait, from any event loop, until what was given before is published or lost; for the outbox's patience."""
        with self._lock:
            if self._given == self._settled:
                return
            done: concurrent.futures.Future[None] = concurrent.futures.Future()
            self._settling.append((self._given, done))
        await asyncio.wait([asyncio.wrap_future(done)], timeout=self._patience)

    async def run(self) -> None:
        """Publish what comes until cancelled, then what is left, for half a second."""
        publisher = Publisher(self._host)
        try:
            while True:
                await self._has_mail.wait()
                # Let the loop look at the sockets: a connection that Redis has closed is noticed only then.
                await asyncio.sleep(0)
                await self._wait_until_up()
                await self._publish_next(publisher)
        finally:
            try:
                if self._waiting:
                    self._patience = FAREWELL
                    await self._publish_next(publisher)
            finally:
                await publisher.aclose()

    def _put(self, channel: str, payload: bytes) -> concurrent.futures.Future[None] | None:
        """Take a message; where there is no room for it, return what is done when there may be some."""
        with self._lock:
            # The one message that is larger than the whole outbox goes too.
            if self._waiting and self._bytes + len(payload) > OUTBOX_BYTES:
                # Under the same lock: room that came in between would wake nobody.
                room: concurrent.futures.Future[None] = concurrent.futures.Future()
                self._room.append(room)
                return room
            self._waiting.append((self._loop.time() + self._expiry, channel, payload))
            self._bytes += len(payload)
            self._given += 1
            if len(self._waiting) > 1:
                return None
        if asyncio.get_running_loop() is self._loop:
            self._has_mail.set()
        else:
            self._loop.call_soon_threadsafe(self._has_mail.set)
        return None

    async def _put_when_there_is_room(
        self, room: concurrent.futures.Future[None] | None, channel: str, payload: bytes
    ) -> bool:
        try:
            async with asyncio.timeout(self._patience):
                while room is not None:
                    await asyncio.wrap_future(room)
                    room = self._put(channel, payload)
        except TimeoutError:
            return False
        return True

    async def _publish_next(self, publisher: Publisher) -> None:
        batch = self._take()
        try:
            if batch:
                await self._publish_batch(publisher, batch)
        finally:
            self._mark_settled()

    async def _publish_batch(self, publisher: Publisher, batch: list[tuple[str, bytes]]) -> None:
        try:
            async with self._host.reached_within(self._patience):
                refusals, members = await publisher.publish(batch)
        except UpstreamUnavailable as error:
            # Not sent again: some of it may have arrived, and a message that comes twice is worse than one that is
            # told as lost.
            self._lose(len(batch), str(error))
            await asyncio.sleep(BACK_OFF)
            return
        self.statistics.published += len(batch) - len(refusals)
        if refusals:
            self._lose(len(refusals), f"Redis at {self._host} refuses them: {refusals[-1]}")
        else:
            self._is_losing = False
        if any(members.values()):
            await self._tell_members(batch, members)

    async def _tell_members(self, batch: list[tuple[str, bytes]], members: dict[str, list[str]]) -> None:
        for name, payload in batch:
            try:
                if members[name]:
                    await self._on_members(name, payload, members[name])
            except UpstreamUnavailable as error:
                self._lose(1, str(error))

    def _mark_settled(self) -> None:
        with self._lock:
            self._settled = self._given - len(self._waiting)
            done = [future for given, future in self._settling if given <= self._settled]
            self._settling = [(given, future) for given, future in self._settling if given > self._settled]
        _resolve(done)

    def _take(self) -> list[tuple[str, bytes]]:
        now = self._loop.time()
        batch: list[tuple[str, bytes]] = []
        expired = 0
        with self._lock:
            while self._waiting and len(batch) < BATCH:
                deadline, channel, payload = self._waiting.popleft()
                self._bytes -= len(payload)
                if deadline <= now:
                    expired += 1
                else:
                    batch.append((channel, payload))
            if not self._waiting:
                self._has_mail.clear()
            room, self._room = self._room, []
        _resolve(room)
        if expired:
            self._lose(expired, f"they have waited for more than {self._expiry:g} s")
        return batch

    def _lose(self, count: int, reason: str) -> None:
        self.statistics.unpublished += count
        if not self._is_losing:
            self._is_losing = True
            logger.warning("Messages to other processes are lost, since %s.", reason)


def _resolve(futures: Iterable[concurrent.futures.Future[None]]) -> None:
    for future in futures:
        if future.set_running_or_notify_cancel():
            future.set_result(None)
