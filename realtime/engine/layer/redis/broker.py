"""The other processes, reached through Redis: everything of the layer that needs a server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Coroutine, Sequence
from typing import Any

from realtime.engine.layer.group_message import Codec, GroupMessage, Kind, RemoteMessage
from realtime.engine.layer.local import LocalMembers
from realtime.engine.layer.options import LayerOptions
from realtime.engine.layer.redis.hosts import Host, Hosts
from realtime.engine.layer.redis.named_channels import NamedChannels
from realtime.engine.layer.redis.publisher import Publisher
from realtime.engine.layer.redis.subscriber import Subscriber
from realtime.engine.protocol.errors import UpstreamUnavailable

logger = logging.getLogger(__name__)

#: Counts on from the highest number that the server or the calling process knows of.
_COUNT = """
local number = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[1])) + ARGV[2]
redis.call('SET', KEYS[1], number)
return number
"""


class RedisBroker:
    """Carries messages between the processes of one project.

    A process subscribes to one Redis channel of its own, for messages to its channels, and to one for each group that
    it has members of. It listens in one event loop, the first that has members. A process without members has no such
    loop: it publishes by a connection of the calling loop, and the caller learns when that fails. Where Redis has to
    be reached and cannot be, every coroutine raises ``UpstreamUnavailable``.

    Args:
        hosts: as for channels_redis.
        members: the members of this process.
    """

    def __init__(
        self,
        hosts: Sequence[Any],
        options: LayerOptions,
        members: LocalMembers,
        serializer: str,
        symmetric_encryption_keys: list[str | bytes] | None,
    ) -> None:
        self._options = options
        self._members = members
        self._hosts = Hosts(hosts, options.timing)
        self.codec = Codec(options, serializer, symmetric_encryption_keys)
        self.named = NamedChannels(self._hosts, options, self.codec, self._settle)
        self._lock = threading.Lock()
        self._connections: _Connections | None = None
        self._highest: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ready(self) -> None:
        """Listen to the other processes; return when the first attempt to connect has succeeded or failed."""
        connections = self.listen()
        for subscriber in connections.subscribers:
            await self._in_loop(connections, subscriber.tried.wait())

    @property
    def _alive(self) -> _Connections | None:
        connections = self._connections
        return connections if connections is not None and connections.is_alive else None

    def listen(self) -> _Connections:
        """Listen to the other processes in this event loop, unless another one does so already."""
        with self._lock:
            connections = self._alive
            if connections is None:
                if self._connections is not None:
                    self._connections.stop()
                connections = self._connections = _Connections([self._connect(host) for host in self._hosts])
            return connections

    async def join(self, group: str, channel: str) -> None:
        """Put a channel of this process into a group, and subscribe to it if that has not been done."""
        self._members.add(group, channel)
        connections = self.listen()
        name = self.named.group_key(group)
        try:
            await self._in_loop(connections, connections.subscribers[self._hosts.shard(name)].subscribe(name))
        except BaseException:
            self._members.discard(group, channel)
            raise

    async def send_to_process(self, process: str, payload: bytes) -> None:
        """Send an encoded message to a process, for one of its channels."""
        await self.publish(f"{self._options.prefix}:process:{process}", payload)

    async def publish(self, name: str, payload: bytes) -> None:
        """Send bytes to the processes that are subscribed to a name, and to its named channels.

        A process that listens to the others does not wait for Redis.
        """
        connections = self._alive
        if connections is not None:
            await connections.publishers[self._hosts.shard(name)].publish(name, payload)
            return
        host = self._hosts.of(name)
        async with host.reached_within(self._options.timing.command):
            publishing: Any = host.client().pipeline(transaction=False)
            _, channels = await publishing.publish(name, payload).smembers(name).execute()
        self._options.statistics.published += 1
        await self.named.push_to_members(name, payload, [channel.decode() for channel in channels])

    async def next_number(self, name: str, *, step: int = 1) -> int:
        key = f"{self._options.prefix}:number:{name}"
        number = int(await self._hosts.of(key).execute("EVAL", _COUNT, 1, key, self._highest.get(name, 0), step))
        self._highest[name] = max(number, self._highest.get(name, 0))
        return number

    async def check(self) -> None:
        """Ping every server."""
        for host in self._hosts:
            await host.execute("PING")

    async def flush(self) -> None:
        """Delete everything that the layer keeps in Redis."""
        self._highest.clear()
        for host in self._hosts:
            async with host.reached_within(self._options.timing.command):
                async for key in host.client().scan_iter(match=f"{self._options.prefix}:*"):
                    await host.client().delete(key)

    async def close(self) -> None:
        """Close the connections of this event loop."""
        connections = self._alive
        if connections is not None and connections.loop is asyncio.get_running_loop():
            connections.stop()
            await asyncio.wait([connections.task])
            self._connections = None
        await self.named.close()
        for host in self._hosts:
            await host.close_client()

    def _connect(self, host: Host) -> tuple[Subscriber, Publisher]:
        own = f"{self._options.prefix}:process:{self._options.process}"
        names = [own, *map(self.named.group_key, self._members.groups())]
        subscriber = Subscriber(
            host,
            self._options,
            [name for name in names if self._hosts.of(name) is host],
            is_deserted=lambda name: name != own and not self._members.has_members(self.named.group_of(name)),
            on_message=self._on_message,
            on_back=self._on_back,
        )
        return subscriber, Publisher(host, self._options, subscriber.up.wait, self.named.push_to_members)

    async def _in_loop(self, connections: _Connections, coroutine: Coroutine[Any, Any, object]) -> None:
        """Await a coroutine in the loop that listens."""
        if asyncio.get_running_loop() is connections.loop:
            await coroutine
            return
        there = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, connections.loop))
        timing = self._options.timing
        done, _ = await asyncio.wait([there], timeout=timing.connect + timing.command)
        if done:
            there.result()
        else:
            logger.warning("The event loop that listens to the other processes is blocked; a subscription is late.")

    async def _settle(self) -> None:
        """Let what this process has sent to groups before reach their named channels first.

        During an outage there is nothing to wait for: what comes next fails.
        """
        connections = self._alive
        if connections is not None and all(subscriber.up.is_set() for subscriber in connections.subscribers):
            for publisher in connections.publishers:
                await publisher.settle()

    async def _on_back(self) -> None:
        """Restore the numbers in a Redis that may have lost them, then send the members the gap event."""
        for name in tuple(self._highest):
            with contextlib.suppress(UpstreamUnavailable):  # the connection is lost again, and will be back again
                await self.next_number(name, step=0)
        await self._members.resynchronise()

    async def _on_message(self, data: bytes) -> None:
        if self.codec.is_own(data) or (message := self.codec.decode(data)) is None:
            return
        self._options.statistics.received += 1
        try:
            await self._deliver(message)
        except Exception:
            # The outermost frame for one message: it must not keep this process from receiving the next one.
            logger.exception("A message from another process could not be delivered to %s.", message.target)

    async def _deliver(self, message: RemoteMessage) -> None:
        match message:
            case (Kind.GROUP, group, content, trace):
                await self._members.deliver(group, GroupMessage(content, trace))
            case (Kind.CHANNEL, channel, content, trace):
                if self._members.post(channel, GroupMessage(content, trace).copy()):
                    self._options.statistics.delivered += 1
            case (Kind.ADD, channel, group, _):
                # Not here: the subscription is confirmed by the reader that has called this.
                task = asyncio.create_task(self.join(group, channel))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case (Kind.DISCARD, channel, group, _):
                self._members.discard(group, channel)


class _Connections:
    """One subscriber and one publisher for each Redis server, at work in the event loop that made them."""

    def __init__(self, pairs: list[tuple[Subscriber, Publisher]]) -> None:
        self.loop = asyncio.get_running_loop()
        self.subscribers, self.publishers = zip(*pairs, strict=True)
        self.task = self.loop.create_task(self._run(), name="realtime-layer")
        self.task.add_done_callback(_log_failure)

    @property
    def is_alive(self) -> bool:
        return not self.task.done() and self.loop.is_running()

    def stop(self) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.task.cancel)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for subscriber in self.subscribers:
                tasks.create_task(subscriber.run(), name="realtime-layer-subscriber")
            for publisher in self.publishers:
                tasks.create_task(publisher.run(), name="realtime-layer-publisher")


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.critical("The connections to the other processes have failed.", exc_info=task.exception())
