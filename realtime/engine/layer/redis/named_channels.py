"""Channels that belong to no process, like ``thumbnails``: lists in Redis that any process fills and workers empty."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from realtime.engine.errors import UpstreamUnavailable
from realtime.engine.layer.group_message import Codec, GroupMessage, Kind, UndecodableMessage
from realtime.engine.layer.redis.hosts import Hosts
from realtime.engine.layer.statistics import Statistics

__all__ = ["NamedChannels"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds for which Redis is asked to wait for a message; also how long a request outlives a cancelled receiver.
BLOCK = 2.0

#: Seconds before a worker asks again a server that it could not reach.
BACK_OFF = 1.0

#: How often a channel that is read renews its memberships within the time that they last.
RENEWALS = 4

#: Every entry begins with its deadline in milliseconds, so that the server can drop it unread.
DEADLINE_LENGTH = 14

_DROP_EXPIRED = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local head = redis.call('LINDEX', KEYS[1], 0)
while head and tonumber(string.sub(head, 1, 14)) <= now do
    redis.call('LPOP', KEYS[1])
    head = redis.call('LINDEX', KEYS[1], 0)
end
"""

#: Returns 1, 0 for a full channel, and -1 for a member of a group whose second key says that nobody reads it.
_PUSH = (
    """
if KEYS[2] and redis.call('EXISTS', KEYS[2]) == 0 then return -1 end
"""
    + _DROP_EXPIRED
    + """
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('RPUSH', KEYS[1], string.format('%014d', now + ARGV[3]) .. ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
)


class NamedChannels:
    """Named channels across processes, and their groups; each message goes to one receiver.

    A group's named channels are a set. Each channel has a key that expires when nobody has joined or read it for
    ``group_expiry``; a message to the group finds that out, and takes the channel out of the set.

    Args:
        hosts: the servers; a channel is on one of them.
        prefix: what the keys begin with.
        expiry: seconds for which a message waits.
        group_expiry: seconds for which a channel that nobody reads stays in its groups.
        codec: turns messages into bytes.
        timeout: seconds that Redis may take to answer.
        statistics: where messages that could not be read, or had no room, are counted.
    """

    def __init__(
        self,
        hosts: Hosts,
        *,
        prefix: str,
        expiry: float,
        group_expiry: float,
        codec: Codec,
        timeout: float,
        statistics: Statistics,
    ) -> None:
        self._hosts = hosts
        self._prefix = prefix
        self._expiry_ms = int(expiry * 1000)
        self._group_expiry = group_expiry
        self._codec = codec
        self._timeout = timeout
        self._statistics = statistics
        self._renewal_due: dict[str, float] = {}
        self._overflowing: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._was_reached = False

    def group_key(self, group: str) -> str:
        """Return the key of a group's named channels; messages to the group are published by the same name."""
        return f"{self._prefix}:group:{group}"

    async def add(self, group: str, channel: str) -> None:
        """Put a channel into a group.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        await self._keep(channel)
        await self._run(self.group_key(group), "SADD", self.group_key(group), channel)

    async def discard(self, group: str, channel: str) -> None:
        """Take a channel out of a group, if it is in it.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        await self._run(self.group_key(group), "SREM", self.group_key(group), channel)

    async def push(self, channel: str, payload: bytes, capacity: int) -> bool:
        """Put a message behind the others. Returns whether there was room.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        return bool(await self._push(channel, [self._key(channel)], payload, capacity))

    async def push_to_member(self, group: str, channel: str, payload: bytes, capacity: int) -> None:
        """Put a message to a group into one of its members; one that has no room loses it.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        pushed = await self._push(channel, [self._key(channel), self._readers_key(channel)], payload, capacity)
        if pushed < 0:
            await self.discard(group, channel)
        elif pushed:
            self._overflowing.discard(channel)
        else:
            self._statistics.dropped += 1
            if channel not in self._overflowing:
                self._overflowing.add(channel)
                logger.warning("Channel %s is full (%d messages): it misses messages to groups.", channel, capacity)

    async def receive(self, channel: str) -> dict[str, Any]:
        """Take the oldest message, waiting for it through outages.

        Raises:
            UpstreamUnavailable: if Redis has not been reached since the start of the process.
        """
        while True:
            try:
                entry = await self._request(channel)
                self._was_reached = True
            except UpstreamUnavailable as error:
                if not self._was_reached:
                    raise
                logger.warning("Nothing is received from channel %s: %s", channel, error)
                await asyncio.sleep(BACK_OFF)
                continue
            message = None if entry is None else self._open(channel, entry)
            if message is not None:
                return message

    async def _request(self, channel: str) -> bytes | None:
        """Ask for a message; the answer to a receiver that was cancelled meanwhile goes back into the channel."""
        request = self._start(self._pop(channel))
        try:
            return await asyncio.shield(request)
        except asyncio.CancelledError:
            self._start(self._put_back(channel, request))
            raise

    def _start(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(coroutine, name="realtime-layer-named-channel")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _put_back(self, channel: str, request: asyncio.Task[bytes | None]) -> None:
        try:
            entry = await request
            if entry is not None:
                await self._run(channel, "LPUSH", self._key(channel), entry)
        except UpstreamUnavailable as error:
            logger.warning("A message of channel %s may be lost: its receiver was cancelled, and %s", channel, error)

    async def _pop(self, channel: str) -> bytes | None:
        if time.monotonic() >= self._renewal_due.get(channel, 0):
            await self._keep(channel, "XX")
            self._renewal_due[channel] = time.monotonic() + self._group_expiry / RENEWALS
        key = self._key(channel)
        host = self._hosts.of(channel)
        async with host.reached_within(self._timeout + BLOCK):
            await host.client().eval(_DROP_EXPIRED, 1, key)
            reply: Any = await host.client().blpop([key], timeout=BLOCK)
        return None if reply is None else bytes(reply[1])

    def _open(self, channel: str, entry: bytes) -> dict[str, Any] | None:
        """Return the message in an entry; None where it cannot be read, or excludes this channel."""
        try:
            kind, _, content, trace = self._codec.decode(entry[DEADLINE_LENGTH:])
        except UndecodableMessage:
            self._statistics.undecodable += 1
            logger.exception("A message of channel %s is lost: it could not be decoded.", channel)
            return None
        message = GroupMessage(content, trace)
        return None if kind is Kind.GROUP and message.exclude == channel else message.copy()

    async def _push(self, channel: str, keys: list[str], payload: bytes, capacity: int) -> int:
        arguments = [*keys, payload, capacity, self._expiry_ms]
        return int(await self._run(channel, "EVAL", _PUSH, len(keys), *arguments))

    async def _keep(self, channel: str, *condition: str) -> None:
        """Let the memberships of a channel last for ``group_expiry`` from now."""
        expiry_ms = int(self._group_expiry * 1000)
        await self._run(channel, "SET", self._readers_key(channel), 1, "PX", expiry_ms, *condition)

    async def _run(self, name: str, *command: Any) -> Any:
        """Run a command on the server that ``name``, a channel or the key of a group, belongs to."""
        host = self._hosts.of(name)
        async with host.reached_within(self._timeout):
            return await host.client().execute_command(*command)

    def _key(self, channel: str) -> str:
        return f"{self._prefix}:work:{channel}"

    def _readers_key(self, channel: str) -> str:
        return f"{self._prefix}:read:{channel}"
