"""Channels without an owner, like ``thumbnails``: lists in Redis that any process fills and one worker empties."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

from redis.asyncio import Redis

from realtime.engine.errors import UpstreamUnavailable
from realtime.engine.layer.group_message import Parcel, carry, unseal
from realtime.engine.layer.members import Queue
from realtime.engine.layer.redis.clients import Clients
from realtime.engine.layer.redis.envelope import Codec, Envelope, Kind, UndecodableEnvelope
from realtime.engine.layer.redis.hosts import Host, Hosts
from realtime.engine.layer.redis.workgroups import WorkGroups
from realtime.engine.layer.statistics import Statistics

__all__ = ["WorkQueues"]

logger = logging.getLogger(__name__)

#: Seconds for which Redis is asked to wait for a message; also how long a worker is held up that wants no more.
BLOCK = 2.0

#: Seconds before a worker asks again a server that it could not reach.
BACK_OFF = 1.0

#: Every entry starts with its deadline in milliseconds, so that the server can drop it unread.
_DROP_EXPIRED = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local head = redis.call('LINDEX', KEYS[1], 0)
while head and tonumber(string.sub(head, 1, 14)) <= now do
    redis.call('LPOP', KEYS[1])
    head = redis.call('LINDEX', KEYS[1], 0)
end
"""

_PUSH = (
    _DROP_EXPIRED
    + """
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[2]) then
    return 0
end
redis.call('RPUSH', KEYS[1], string.format('%014d', now + ARGV[3]) .. ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
)

#: For a message to a group: the channel's own set of groups says whether it is still a member.
_PUSH_TO_MEMBER = (
    """
if redis.call('SISMEMBER', KEYS[2], ARGV[4]) == 0 then
    return -1
end
"""
    + _PUSH
)

_DEADLINE_LENGTH = 14


class WorkQueues:
    """Named channels across processes; each message goes to one receiver.

    Args:
        hosts: the servers; a channel's list is on one of them.
        clients: the clients of each event loop.
        prefix: what the keys begin with.
        expiry: seconds for which a message waits.
        codec: turns messages into bytes.
        groups: the groups that the channels are in.
        patience: seconds that Redis may take to answer.
        statistics: where messages that could not be read, or had no room, are counted.
    """

    def __init__(
        self,
        hosts: Hosts,
        clients: Clients,
        *,
        prefix: str,
        expiry: float,
        codec: Codec,
        groups: WorkGroups,
        patience: float,
        statistics: Statistics,
    ) -> None:
        self._statistics = statistics
        self._codec = codec
        self._groups = groups
        self._hosts = hosts
        self._clients = clients
        self._prefix = prefix
        self._expiry = expiry
        self._patience = patience
        self._overflowing: set[str] = set()
        self._pumps: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Task[None]] = {}
        self._was_reached = False

    async def push(self, channel: str, message: Any, capacity: int) -> bool:
        """Put a message behind the others. Returns whether there was room.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        payload = self._codec.encode(Kind.CHANNEL, channel, message)
        async with self._host(channel).reached_within(self._patience):
            pushed = await self._client(channel).eval(
                _PUSH, 1, self._key(channel), payload, capacity, int(self._expiry * 1000)
            )
        return bool(pushed)

    async def push_to_member(self, group: str, channel: str, payload: bytes, capacity: int) -> None:
        """Put a message to a group into one of its members; one that has no room loses it.

        Args:
            group: the group.
            channel: the member.
            payload: the message as it was published.
            capacity: how many messages may wait in the channel.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        keys = [self._key(channel), self._groups.groups_key(channel)]
        async with self._host(channel).reached_within(self._patience):
            pushed = await self._client(channel).eval(
                _PUSH_TO_MEMBER, len(keys), *keys, payload, capacity, int(self._expiry * 1000), group
            )
        if pushed < 0:
            await self._groups.forget(group, channel)
        elif pushed:
            self._overflowing.discard(channel)
        else:
            self._overflow(channel, capacity)

    def _overflow(self, channel: str, capacity: int) -> None:
        self._statistics.dropped += 1
        if channel not in self._overflowing:
            self._overflowing.add(channel)
            logger.warning("Channel %s is full (%d messages): messages to its groups pass it over.", channel, capacity)

    async def receive(self, channel: str, queue: Queue) -> dict[str, Any]:
        """Take the oldest message, waiting for it through outages.

        Args:
            channel: the channel's name.
            queue: where this process's receivers of the channel wait.

        Raises:
            UpstreamUnavailable: if Redis has not been reached since the start of the process.
        """
        self._ensure_pump(channel, queue)
        return await queue.get()

    def _ensure_pump(self, channel: str, queue: Queue) -> None:
        loop = asyncio.get_running_loop()
        running = self._pumps.get((loop, channel))
        if running is not None and not running.done():
            return
        pump = loop.create_task(self._fill(channel, queue), name=f"realtime-layer-work-{channel}")
        self._pumps[loop, channel] = pump

        def on_end(pump: asyncio.Task[None]) -> None:
            if self._pumps.get((loop, channel)) is pump:
                del self._pumps[loop, channel]
            error = None if pump.cancelled() else pump.exception()
            if error is not None:
                queue.fail(error)

        pump.add_done_callback(on_end)

    async def _fill(self, channel: str, queue: Queue) -> None:
        """Hand over messages for as long as receivers wait for more than there are."""
        while queue.readers > len(queue.mailbox):
            try:
                entry = await self._pop(channel)
                self._was_reached = True
                if entry is None:
                    continue
                if queue.readers > len(queue.mailbox):
                    self._hand_over(channel, entry, queue)
                else:  # its receiver has gone meanwhile: it is the next one's, in whichever process
                    await self._client(channel).lpush(self._key(channel), entry)
            except UpstreamUnavailable as error:
                if not self._was_reached:
                    raise
                logger.warning("No work is received from channel %s: %s", channel, error)
                await asyncio.sleep(BACK_OFF)

    def _hand_over(self, channel: str, entry: bytes, queue: Queue) -> None:
        try:
            envelope = self._codec.decode(entry[_DEADLINE_LENGTH:])
        except UndecodableEnvelope:
            self._statistics.undecodable += 1
            logger.exception("Work of channel %s is lost: it could not be decoded.", channel)
            return
        message = _opened(envelope, channel)
        if message is not None:
            queue.post(message)

    async def _pop(self, channel: str) -> bytes | None:
        key = self._key(channel)
        client = self._client(channel)
        await self._groups.renew(channel)
        async with self._host(channel).reached_within(self._patience + BLOCK):
            await client.eval(_DROP_EXPIRED, 1, key)
            reply = await client.blpop([key], timeout=BLOCK)
        return None if reply is None else cast(bytes, reply[1])

    def _key(self, channel: str) -> str:
        return f"{self._prefix}:work:{channel}"

    def _host(self, channel: str) -> Host:
        return self._hosts[self._hosts.shard(channel)]

    def _client(self, channel: str) -> Redis:
        return self._clients.here()[self._hosts.shard(channel)]


def _opened(envelope: Envelope, channel: str) -> dict[str, Any] | None:
    """Return the message in an envelope; None where it was for a group, but not for this channel."""
    message, trace = unseal(envelope.content)
    if envelope.kind is not Kind.GROUP:
        return carry(message, trace)
    parcel = Parcel(message, trace)
    return None if parcel.exclude == channel else parcel.copy()
