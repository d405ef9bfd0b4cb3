"""The connection on which a process receives the messages of the others, one for each Redis server.

redis-py's ``PubSub`` connects again by itself, in the middle of any call, and does not report it. What was published
meanwhile is lost without a trace. This one holds the connection itself: it notices that the connection is lost or the
server silent, and reports when the connection is back.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from redis.exceptions import RedisError

from realtime.engine.layer.options import LayerOptions
from realtime.engine.layer.redis.hosts import Host, close_pool
from realtime.engine.protocol.errors import UpstreamUnavailable

logger = logging.getLogger(__name__)

#: Seconds before the first, the second ... attempt to connect again; the last one goes on. Delivery must be back
#: within 5 s of Redis being back.
BACK_OFF = (0.05, 0.1, 0.2, 0.4, 0.8)

#: Names in one SUBSCRIBE command.
NAMES_PER_COMMAND = 500


class Subscriber:
    """Receives what is published on some names, through every outage. All its methods run in one event loop.

    Args:
        wanted: the names to subscribe to from the start.
        is_deserted: whether a name has no members in this process.
        on_message: called with each message's payload; the next one is read when it returns.
        on_back: called when every wanted name is subscribed again after the connection was lost.

    Attributes:
        up: set while the connection is there and all names are subscribed.
        tried: set when the first attempt to connect has succeeded or failed.
    """

    def __init__(
        self,
        host: Host,
        options: LayerOptions,
        wanted: Iterable[str],
        *,
        is_deserted: Callable[[str], bool],
        on_message: Callable[[bytes], Awaitable[None]],
        on_back: Callable[[], Awaitable[None]],
    ) -> None:
        self.up = asyncio.Event()
        self.tried = asyncio.Event()
        self._host = host
        self._statistics = options.statistics
        self._timing = options.timing
        self._is_deserted = is_deserted
        self._on_message = on_message
        self._on_back = on_back
        self._loop = asyncio.get_running_loop()
        self._pool = host.pool()  # a connection by Sentinel refers to it weakly
        self._connection: Any = self._pool.make_connection()
        #: The wanted names. A future is done when the name is subscribed, and when the connection is lost.
        self._names: dict[str, asyncio.Future[None]] = {name: self._loop.create_future() for name in wanted}
        self._deserted: set[str] = set()
        self._next_sweep = 0.0
        self._failure: UpstreamUnavailable | None = None
        self._was_up = False

    async def subscribe(self, name: str) -> None:
        """Return when every later message on ``name`` will be received, or its loss reported.

        A name that is subscribed already costs nothing. During an outage this returns at once. It raises
        ``UpstreamUnavailable`` if the server has not been reached since the start of the process.
        """
        self._deserted.discard(name)
        subscribed = self._names.get(name)
        is_new = subscribed is None
        if subscribed is None:
            subscribed = self._names[name] = self._loop.create_future()
        if not self._was_up:
            await self.tried.wait()
            if self._failure is not None:
                if is_new:
                    del self._names[name]
                raise self._failure
        if subscribed.done() or not self.up.is_set():
            return
        try:
            async with asyncio.timeout(self._timing.command):
                if is_new:
                    await self._send("SUBSCRIBE", name)
                await asyncio.shield(subscribed)
        except TimeoutError:
            # What is published from now on may be missed. With a new connection the loss is reported.
            logger.warning("Redis at %s did not confirm a subscription; connecting again.", self._host)
            await self._connection.disconnect(nowait=True)

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        attempt = 0
        task = asyncio.current_task()
        assert task is not None
        while not task.cancelling():  # redis-py reports some cancellations as errors while it asks Sentinel
            try:
                await self._session()
            except (RedisError, OSError) as error:  # TimeoutError is an OSError
                attempt = 0 if self.up.is_set() else attempt
                self._report(UpstreamUnavailable(str(self._host), error))
            finally:
                self.up.clear()
                # A confirmation cannot come any more: the loss is reported at the next connection.
                for subscribed in self._names.values():
                    _finish(subscribed)
                await self._connection.disconnect(nowait=True)
                await close_pool(self._pool)
            delay = BACK_OFF[min(attempt, len(BACK_OFF) - 1)]
            attempt += 1
            # Spread, so that a hundred processes do not come at the same instant.
            await asyncio.sleep(delay * random.uniform(0.75, 1.25))  # noqa: S311

    async def _session(self) -> None:
        """Connect, subscribe and read until the connection is lost."""
        async with asyncio.timeout(self._timing.connect):
            await self._connection.connect()
            names = list(self._names)
            for name in names:
                if self._names[name].done():
                    self._names[name] = self._loop.create_future()
            for start in range(0, len(names), NAMES_PER_COMMAND):
                await self._send("SUBSCRIBE", *names[start : start + NAMES_PER_COMMAND])
            while names and not self._names[names[-1]].done():  # the confirmations come in the order of the names
                await self._handle(await self._connection.read_response(disconnect_on_error=False))
        self._statistics.connects += 1
        self._failure = None
        was_up, self._was_up = self._was_up, True
        self.up.set()
        self.tried.set()
        for name in self._names.keys() - names:  # wanted while the list was on its way
            await self._send("SUBSCRIBE", name)
        if was_up:
            logger.warning("Redis at %s is back.", self._host)
            await self._on_back()
        while True:
            await self._handle(await self._read())

    def _report(self, failure: UpstreamUnavailable) -> None:
        if self.up.is_set():
            self._statistics.disconnects += 1
            logger.warning("The connection to Redis was lost; connecting again: %s", failure)
        elif self._failure is None and not self._was_up:
            logger.error("%s -- messages stay within this process until it can; trying again.", failure)
        self._failure = failure
        self.tried.set()

    async def _read(self) -> Any:
        if time.monotonic() >= self._next_sweep:
            await self._leave_deserted()
        silence = self._timing.silence
        response = await self._connection.read_response(timeout=silence, disconnect_on_error=False)
        if response is None:
            await self._send("PING")
            response = await self._connection.read_response(timeout=silence, disconnect_on_error=False)
        if response is None:
            raise TimeoutError(f"no answer for {2 * silence:g} s")
        return response

    async def _handle(self, response: Any) -> None:
        match response:
            case [b"message", _, payload]:
                await self._on_message(payload)
            case [b"subscribe", name, _]:
                subscribed = self._names.get(name.decode())
                if subscribed is not None:
                    _finish(subscribed)

    async def _leave_deserted(self) -> None:
        """Unsubscribe from the names that were deserted the last time and that nobody has joined since."""
        self._next_sweep = time.monotonic() + self._timing.linger
        deserted = {name for name in self._names if self._is_deserted(name)}
        names = deserted & self._deserted
        self._deserted = deserted - names
        for name in names:
            del self._names[name]
        if names:
            await self._send("UNSUBSCRIBE", *names)

    async def _send(self, *command: str) -> None:
        """Write a command, if the connection is there: ``send_command`` would open a lost one again."""
        if self._connection.is_connected:
            await self._connection.send_command(*command, check_health=False)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
