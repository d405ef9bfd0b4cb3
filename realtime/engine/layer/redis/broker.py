"""The other processes, reached through Redis: everything of the layer that needs a server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from realtime.engine.layer.group_message import Codec, GroupMessage, Kind, RemoteMessage, UndecodableMessage
from realtime.engine.layer.local import LocalMembers
from realtime.engine.layer.redis.hosts import Host, Hosts, Timing
from realtime.engine.layer.redis.named_channels import NamedChannels
from realtime.engine.layer.redis.publisher import Publisher
from realtime.engine.layer.redis.subscriber import Subscriber
from realtime.engine.layer.statistics import Statistics

__all__ = ["RedisBroker"]

logger = logging.getLogger(__name__)


class RedisBroker:
    """Carries messages between the processes of one project.

    A process subscribes to one Redis channel of its own, for messages to its channels, and to one for each group that
    it has members of. It listens in one event loop, the first that has members. A process without members has no such
    loop: it publishes by a connection of the calling loop, and the caller learns when that fails.

    Args:
        process: the id of this process.
        members: the members of this process.
        hosts: the Redis servers, as for channels_redis.
        prefix: what every key and Redis channel begins with.
        expiry: seconds for which messages may wait.
        group_expiry: seconds for which a named channel that nobody reads stays in its groups.
        codec: turns messages into bytes.
        timing: how long to wait for Redis.
        statistics: where everything is counted.
        capacity_of: returns a channel's capacity.
    """

    def __init__(
        self,
        process: str,
        members: LocalMembers,
        hosts: Sequence[Any],
        *,
        prefix: str,
        expiry: float,
        group_expiry: float,
        codec: Codec,
        timing: Timing,
        statistics: Statistics,
        capacity_of: Callable[[str], int],
    ) -> None:
        self._process = process
        self._members = members
        self._prefix = prefix
        self._expiry = expiry
        self._codec = codec
        self._timing = timing
        self._statistics = statistics
        self._capacity_of = capacity_of
        self._hosts = Hosts(hosts, timing.connect)
        self.named = NamedChannels(
            self._hosts,
            prefix=prefix,
            expiry=expiry,
            group_expiry=group_expiry,
            codec=codec,
            timeout=timing.command,
            statistics=statistics,
        )
        self._lock = threading.Lock()
        self._connections: _Connections | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # Members of this process

    async def ready(self) -> None:
        """Listen to the other processes; return when the first attempt to connect has succeeded or failed."""
        connections = self.listen()
        for subscriber in connections.subscribers:
            await self._in_loop(connections, subscriber.wait_for_first_attempt())

    def listen(self) -> _Connections:
        """Listen to the other processes in this event loop, unless another one does so already."""
        with self._lock:
            connections = self._connections
            if connections is None or not connections.is_alive:
                if connections is not None:
                    connections.stop()
                connections = self._connections = _Connections(self._hosts, self._make_connections)
            return connections

    async def join(self, group: str, channel: str) -> None:
        """Put a channel of this process into a group, and subscribe to it if that has not been done.

        Raises:
            UpstreamUnavailable: if Redis has not been reached since the start of the process.
        """
        self._members.add(group, channel)
        connections = self.listen()
        name = self.named.group_key(group)
        try:
            await self._in_loop(connections, connections.subscribers[self._hosts.shard(name)].subscribe(name))
        except BaseException:
            self._members.discard(group, channel)
            raise

    def leave(self, group: str) -> None:
        """Unsubscribe from ``group`` some time later, if it has no members then."""
        connections = self._connections
        if connections is not None and connections.is_alive:
            name = self.named.group_key(group)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                subscriber = connections.subscribers[self._hosts.shard(name)]
                connections.loop.call_soon_threadsafe(subscriber.unsubscribe, name)

    # Messages to other processes

    async def send_to_process(self, process: str, message: RemoteMessage) -> None:
        """Send a message to a process, for one of its channels."""
        await self.publish(f"{self._prefix}:process:{process}", self._codec.encode(message))

    def encode_for_group(self, message: RemoteMessage) -> tuple[str, bytes]:
        """Return what ``publish()`` takes, for a message to the members that other processes have.

        Raises what the serializer raises for a value that it does not know.
        """
        return self.named.group_key(message.target), self._codec.encode(message)

    async def publish(self, name: str, payload: bytes) -> None:
        """Send bytes to the processes that are subscribed to a name, and to its named channels.

        A process that listens to the others does not wait for Redis.

        Raises:
            UpstreamUnavailable: if this process does not listen, and Redis cannot be reached.
        """
        connections = self._connections
        if connections is not None and connections.is_alive:
            await connections.publishers[self._hosts.shard(name)].publish(name, payload)
            return
        host = self._hosts.of(name)
        async with host.reached_within(self._timing.command):
            publishing: Any = host.client().pipeline(transaction=False)
            _, channels = await publishing.publish(name, payload).smembers(name).execute()
        self._statistics.published += 1
        await self._push_to_members(name, payload, [channel.decode() for channel in channels])

    # Named channels

    async def push(self, message: RemoteMessage) -> bool:
        """Put a message into a named channel; returns whether there was room.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        await self._settle()
        channel = message.target
        return await self.named.push(channel, self._codec.encode(message), self._capacity_of(channel))

    async def add_named(self, group: str, channel: str) -> None:
        """Put a named channel into a group.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        await self._settle()
        await self.named.add(group, channel)

    async def discard_named(self, group: str, channel: str) -> None:
        """Take a named channel out of a group.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        await self._settle()
        await self.named.discard(group, channel)

    # All processes

    async def next_number(self, name: str) -> int:
        """Return 1, 2, 3 and so on for each name, every number to one process.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        key = f"{self._prefix}:number:{name}"
        host = self._hosts.of(key)
        async with host.reached_within(self._timing.command):
            return int(await host.client().incr(key))

    async def check(self) -> None:
        """Ping every server.

        Raises:
            UpstreamUnavailable: if one of them does not answer.
        """
        for host in self._hosts:
            async with host.reached_within(self._timing.command):
                await host.client().ping()

    async def flush(self) -> None:
        """Delete everything that the layer keeps in Redis.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        for host in self._hosts:
            async with host.reached_within(self._timing.command):
                async for key in host.client().scan_iter(match=f"{self._prefix}:*"):
                    await host.client().delete(key)

    async def close(self) -> None:
        """Close the connections of this event loop."""
        connections = self._connections
        if connections is not None and connections.is_alive and connections.loop is asyncio.get_running_loop():
            await connections.aclose()
            self._connections = None
        for host in self._hosts:
            await host.close_client()

    # Inside

    def _make_connections(self, host: Host) -> tuple[Subscriber, Publisher]:
        own = f"{self._prefix}:process:{self._process}"
        names = [own, *map(self.named.group_key, self._members.groups())]
        subscriber = Subscriber(
            host,
            [name for name in names if self._hosts.of(name) is host],
            is_deserted=lambda name: not self._members.has_members(self._group(name)),
            on_message=self._on_message,
            on_back=self._members.resynchronise,
            statistics=self._statistics,
            timing=self._timing,
        )
        publisher = Publisher(
            host,
            subscriber.wait_until_up,
            on_members=self._push_to_members,
            statistics=self._statistics,
            expiry=self._expiry,
            timeout=self._timing.command,
        )
        return subscriber, publisher

    async def _in_loop(self, connections: _Connections, coroutine: Coroutine[Any, Any, None]) -> None:
        """Await a coroutine in the loop that listens."""
        if asyncio.get_running_loop() is connections.loop:
            await coroutine
            return
        there = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, connections.loop))
        done, _ = await asyncio.wait([there], timeout=self._timing.connect + self._timing.command)
        if done:
            there.result()
        else:
            logger.warning("The event loop that listens to the other processes is blocked; a subscription is late.")

    async def _settle(self) -> None:
        """Let what this process has sent to groups before reach their named channels first.

        During an outage there is nothing to wait for: what comes next fails.
        """
        connections = self._connections
        if connections is not None and connections.is_alive and connections.is_up:
            for publisher in connections.publishers:
                await publisher.settle()

    async def _push_to_members(self, name: str, payload: bytes, channels: Iterable[str]) -> None:
        for channel in channels:
            await self.named.push_to_member(self._group(name), channel, payload, self._capacity_of(channel))

    async def _on_message(self, data: bytes) -> None:
        if self._codec.is_own(data):
            return
        try:
            message = self._codec.decode(data)
        except UndecodableMessage:
            self._statistics.undecodable += 1
            logger.exception("A message from another process is lost: it could not be decoded.")
            return
        self._statistics.received += 1
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
                    self._statistics.delivered += 1
            case (Kind.ADD, channel, group, _):
                # Not here: the subscription is confirmed by the reader that has called this.
                task = asyncio.create_task(self.join(group, channel))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case (Kind.DISCARD, channel, group, _):
                self._members.discard(group, channel)

    def _group(self, name: str) -> str:
        return name.removeprefix(self.named.group_key(""))


class _Connections:
    """One subscriber and one publisher for each Redis server, at work in the event loop that made them."""

    def __init__(self, hosts: Iterable[Host], make: Callable[[Host], tuple[Subscriber, Publisher]]) -> None:
        self.loop = asyncio.get_running_loop()
        pairs = [make(host) for host in hosts]
        self.subscribers = [subscriber for subscriber, _ in pairs]
        self.publishers = [publisher for _, publisher in pairs]
        self._task = self.loop.create_task(self._run(), name="realtime-layer")
        self._task.add_done_callback(_log_failure)

    @property
    def is_alive(self) -> bool:
        return not self._task.done() and self.loop.is_running()

    @property
    def is_up(self) -> bool:
        return all(subscriber.is_up for subscriber in self.subscribers)

    def stop(self) -> None:
        """End the tasks, from any thread."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._task.cancel)

    async def aclose(self) -> None:
        """End the tasks, in their own event loop, and wait for that."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for subscriber in self.subscribers:
                tasks.create_task(subscriber.run())
            for publisher in self.publishers:
                tasks.create_task(publisher.run())


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.critical("The connections to the other processes have failed.", exc_info=task.exception())
