"""The other processes, reached through Redis: everything of the layer that needs a server."""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from realtime.engine.errors import UpstreamUnavailable
from realtime.engine.layer.members import Queue
from realtime.engine.layer.redis.clients import Clients
from realtime.engine.layer.redis.envelope import Codec, Envelope, Kind, UndecodableEnvelope
from realtime.engine.layer.redis.hosts import Hosts
from realtime.engine.layer.redis.link import Link
from realtime.engine.layer.redis.named_channels import WorkQueues
from realtime.engine.layer.redis.numbers import Numbers
from realtime.engine.layer.redis.subscriber import Timing
from realtime.engine.layer.redis.workgroups import WorkGroups
from realtime.engine.layer.statistics import Statistics

__all__ = ["Upstream"]

logger = logging.getLogger(__name__)


class Upstream:
    """What the processes of one project share.

    A process hears one Redis channel of its own, for messages to its channels, and one for each group that it has
    members of. It listens in one event loop, the first that has members. A process without members has no such loop:
    it publishes by a connection of the calling loop, and is told when that fails.

    Args:
        process: the id of this process.
        hosts: the Redis servers, as for channels_redis.
        prefix: what every key and Redis channel begins with.
        expiry: seconds for which messages may wait.
        serializer: a format of ``channels_redis.serializers.registry``.
        symmetric_encryption_keys: keys for encryption.
        timing: how long to wait for Redis.
        statistics: where everything is counted.
        groups: returns the groups that have members in this process.
        has_members: tells whether a group has members in this process.
        group_expiry: seconds for which a channel without an owner that nobody reads stays in its groups.
        capacity_of: returns a channel's capacity.
        on_envelope: called with each message of another process.
        on_back: called when a lost connection is up again.
    """

    def __init__(
        self,
        process: str,
        hosts: Sequence[Any],
        *,
        prefix: str,
        expiry: float,
        serializer: str,
        symmetric_encryption_keys: list[str | bytes] | None,
        timing: Timing,
        statistics: Statistics,
        groups: Callable[[], Iterable[str]],
        has_members: Callable[[str], bool],
        group_expiry: float,
        capacity_of: Callable[[str], int],
        on_envelope: Callable[[Envelope], Awaitable[None]],
        on_back: Callable[[], Awaitable[None]],
    ) -> None:
        self._process = process
        self._prefix = prefix
        self._expiry = expiry
        self._timing = timing
        self._statistics = statistics
        self._groups = groups
        self._has_members = has_members
        self._capacity_of = capacity_of
        self._on_envelope = on_envelope
        self._on_back = on_back
        self._codec = Codec(process, serializer, symmetric_encryption_keys, expiry)
        self._hosts = Hosts(hosts, timing.connect)
        self._clients = Clients(self._hosts)
        self._work_groups = WorkGroups(
            self._hosts, self._clients, prefix=prefix, group_expiry=group_expiry, patience=timing.command
        )
        self._work = WorkQueues(
            self._hosts,
            self._clients,
            prefix=prefix,
            expiry=expiry,
            codec=self._codec,
            groups=self._work_groups,
            patience=timing.command,
            statistics=statistics,
        )
        self._numbers = Numbers(self._hosts, self._clients, prefix=prefix, patience=timing.command)
        self._lock = threading.Lock()
        self._link: Link | None = None

    # Hearing the others

    def listen(self) -> Link:
        """Start to hear the other processes, in this event loop unless another one does so already."""
        with self._lock:
            link = self._link
            if link is None or not link.is_alive:
                if link is not None:
                    link.stop()
                names = [self._process_channel(self._process), *map(self._group_channel, self._groups())]
                link = self._link = Link(
                    self._hosts,
                    names,
                    is_deserted=self._is_deserted,
                    on_message=self._on_message,
                    on_members=self._pass_on,
                    on_back=self._back,
                    statistics=self._statistics,
                    timing=self._timing,
                    expiry=self._expiry,
                )
            return link

    async def join(self, group: str) -> None:
        """Return when messages to ``group`` are heard; costs nothing where they are already.

        Raises:
            UpstreamUnavailable: if Redis has not been reached since the start of the process.
        """
        await self.listen().subscribe(self._group_channel(group))

    def leave(self, group: str) -> None:
        """Stop hearing ``group`` some time later, if it has no members then."""
        link = self._link
        if link is not None and link.is_alive:
            link.unsubscribe(self._group_channel(group))

    # Telling the others

    def for_group(self, group: str, message: dict[str, Any]) -> tuple[str, bytes]:
        """Return what ``publish()`` takes, for a message to the members that other processes have.

        Raises what the serializer raises for a value that it does not know.
        """
        return self._group_channel(group), self._codec.encode(Kind.GROUP, group, message)

    def for_process(self, process: str, kind: Kind, channel: str, content: Any) -> tuple[str, bytes]:
        """Return what ``publish()`` takes, to tell a process something about one of its channels."""
        return self._process_channel(process), self._codec.encode(kind, channel, content)

    async def publish(self, name: str, payload: bytes) -> None:
        """Say something to other processes.

        A process that hears the others does not wait for Redis, and rides out its outages.

        Raises:
            UpstreamUnavailable: if this process hears nobody, and Redis cannot be reached.
        """
        link = self._link
        if link is not None and link.is_alive:
            await link.publish(name, payload)
            return
        shard = self._hosts.shard(name)
        async with self._hosts[shard].reached_within(self._timing.command):
            publishing: Any = self._clients.here()[shard].pipeline(transaction=False)
            _, channels = await publishing.publish(name, payload).smembers(name).execute()
        self._statistics.published += 1
        await self._pass_on(name, payload, [channel.decode() for channel in channels])

    # Shared by all

    async def push_work(self, channel: str, message: Any) -> bool:
        """Put a message into a channel without an owner; returns whether there was room.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        await self._settle()
        return await self._work.push(channel, message, self._capacity_of(channel))

    async def receive_work(self, channel: str, queue: Queue) -> dict[str, Any]:
        """Wait for a message of a channel without an owner.

        Raises:
            UpstreamUnavailable: if Redis has not been reached since the start of the process.
        """
        return await self._work.receive(channel, queue)

    async def add_work(self, group: str, channel: str) -> None:
        """Put a channel without an owner into a group.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        await self._settle()
        await self._work_groups.add(group, channel)

    async def discard_work(self, group: str, channel: str) -> None:
        """Take a channel without an owner out of a group.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        await self._settle()
        await self._work_groups.discard(group, channel)

    async def next_number(self, name: str) -> int:
        """Return 1, 2, 3 and so on, each number to one process.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        return await self._numbers.next(name)

    async def check(self) -> None:
        """Ask every server for an answer.

        Raises:
            UpstreamUnavailable: if one of them gives none.
        """
        clients = self._clients.here()
        for shard, host in enumerate(self._hosts):
            async with host.reached_within(self._timing.command):
                await clients[shard].ping()

    async def flush(self) -> None:
        """Delete everything that the layer keeps in Redis.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        self._numbers.clear()
        clients = self._clients.here()
        for shard, host in enumerate(self._hosts):
            async with host.reached_within(self._timing.command):
                async for key in clients[shard].scan_iter(match=f"{self._prefix}:*"):
                    await clients[shard].delete(key)

    async def close(self) -> None:
        """Close the connections of this event loop."""
        link = self._link
        if link is not None and link.is_alive and link.loop is self._clients.here().loop:
            await link.aclose()
            self._link = None
        await self._clients.aclose()

    # Inside

    async def _settle(self) -> None:
        """Let what this process has said to groups before reach their members without an owner first.

        During an outage there is nothing to wait for: what comes next fails.
        """
        link = self._link
        if link is not None and link.is_alive and link.is_up:
            await link.settle()

    async def _pass_on(self, name: str, payload: bytes, channels: Iterable[str]) -> None:
        """Put a message that was published to a group into its members without an owner."""
        group = name.removeprefix(self._group_channel(""))
        for channel in channels:
            await self._work.push_to_member(group, channel, payload, self._capacity_of(channel))

    async def _back(self) -> None:
        try:
            await self._numbers.restore()
        except UpstreamUnavailable as error:
            logger.warning("Redis was not told which numbers are in use: %s", error)
        await self._on_back()

    async def _on_message(self, data: bytes) -> None:
        if self._codec.is_own(data):
            return
        try:
            envelope = self._codec.decode(data)
        except UndecodableEnvelope:
            self._statistics.undecodable += 1
            logger.exception("A message from another process is lost: it could not be decoded.")
            return
        self._statistics.received += 1
        try:
            await self._on_envelope(envelope)
        except Exception:
            # The outermost frame for one message: it must not keep this process from hearing the next one.
            logger.exception("A message from another process could not be delivered to %s.", envelope.target)

    def _is_deserted(self, name: str) -> bool:
        return not self._has_members(name.removeprefix(self._group_channel("")))

    def _group_channel(self, group: str) -> str:
        return self._work_groups.channels_key(group)

    def _process_channel(self, process: str) -> str:
        return f"{self._prefix}:process:{process}"
