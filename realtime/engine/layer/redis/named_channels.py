"""Channels that belong to no process, like ``thumbnails``: lists in Redis that any process fills and workers empty."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from realtime.engine.layer.group_message import Codec, GroupMessage, Kind
from realtime.engine.layer.options import LayerOptions
from realtime.engine.layer.redis.hosts import Hosts
from realtime.engine.monitoring.tracing import Carrier
from realtime.engine.protocol.errors import UpstreamUnavailable

logger = logging.getLogger(__name__)

#: Seconds for which Redis is asked to wait for a message; also how long a request outlives a cancelled receiver.
BLOCK = 2.0

#: Seconds before a worker asks again a server that it could not reach.
BACK_OFF = 1.0

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

#: Before a channel is read: its memberships last longer, and what has expired is gone.
_PREPARE = f"redis.call('PEXPIRE', KEYS[2], ARGV[1]) {_DROP_EXPIRED}"

#: Returns 1, 0 for a full channel, and -1 for a member of a group whose second key says that nobody reads it.
_PUSH = f"""
if KEYS[2] and redis.call('EXISTS', KEYS[2]) == 0 then return -1 end
{_DROP_EXPIRED}
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('RPUSH', KEYS[1], string.format('%014d', now + ARGV[3]) .. ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""


class NamedChannels:
    """Named channels across processes, and their groups; each message goes to one receiver.

    A group's named channels are a set. Each channel has a key that expires when nobody has joined or read it for
    ``group_expiry``; a message to the group finds that out, and takes the channel out of the set. Where Redis cannot
    be reached, every coroutine raises ``UpstreamUnavailable``; ``receive()`` only until it has been reached once.
    ``settle`` returns when what was sent to groups before has reached their named channels.
    """

    def __init__(
        self, hosts: Hosts, options: LayerOptions, codec: Codec, settle: Callable[[], Awaitable[None]]
    ) -> None:
        self._hosts = hosts
        self._options = options
        self._codec = codec
        self._settle = settle
        self._overflowing: set[str] = set()
        self._group_expiry_ms = int(options.group_expiry * 1000)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._was_reached = False

    def group_key(self, group: str) -> str:
        """Return the key of a group's named channels; messages to the group are published by the same name."""
        return f"{self._options.prefix}:group:{group}"

    def group_of(self, key: str) -> str:
        return key.removeprefix(self.group_key(""))

    async def add(self, group: str, channel: str) -> None:
        await self._settle()
        await self._hosts.of(channel).execute("SET", self._readers_key(channel), 1, "PX", self._group_expiry_ms)
        key = self.group_key(group)
        await self._hosts.of(key).execute("SADD", key, channel)

    async def discard(self, group: str, channel: str) -> None:
        await self._settle()
        key = self.group_key(group)
        await self._hosts.of(key).execute("SREM", key, channel)

    async def push(self, channel: str, message: dict[str, Any], trace: Carrier | None) -> bool:
        """Put a message behind the others. Returns whether there was room."""
        await self._settle()
        payload = self._codec.encode(Kind.CHANNEL, channel, message, trace)
        return bool(await self._push(channel, payload, self._key(channel)))

    async def push_to_members(self, group_key: str, payload: bytes, channels: Iterable[str]) -> None:
        """Put a message to a group into its named channels; one that has no room loses it."""
        for channel in channels:
            pushed = await self._push(channel, payload, self._key(channel), self._readers_key(channel))
            if pushed < 0:
                await self._hosts.of(group_key).execute("SREM", group_key, channel)
            elif pushed:
                self._overflowing.discard(channel)
            else:
                self._options.statistics.dropped += 1
                if channel not in self._overflowing:
                    self._overflowing.add(channel)
                    logger.warning("Channel %s is full: it misses messages to groups.", channel)

    async def receive(self, channel: str) -> dict[str, Any]:
        """Take the oldest message, waiting for it through outages."""
        while True:
            request = self._start(self._pop(channel))
            try:
                entry = await asyncio.shield(request)
                self._was_reached = True
            except asyncio.CancelledError:
                self._start(self._put_back(channel, request))
                raise
            except UpstreamUnavailable as error:
                if not self._was_reached:
                    raise
                logger.warning("Nothing is received from channel %s: %s", channel, error)
                await asyncio.sleep(BACK_OFF)
                continue
            message = None if entry is None else self._open(channel, entry)
            if message is not None:
                return message

    async def close(self) -> None:
        """Wait for the requests of this event loop: each ends by itself within seconds, and may hold a message."""
        requests = [task for task in self._tasks if task.get_loop() is asyncio.get_running_loop()]
        if requests:
            await asyncio.wait(requests)

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine, name="realtime-layer-named-channel")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _put_back(self, channel: str, request: asyncio.Task[Any]) -> None:
        """Return the answer to a request whose receiver was cancelled to the channel."""
        try:
            entry = await request
            if entry is not None:
                await self._hosts.of(channel).execute("LPUSH", self._key(channel), entry)
        except UpstreamUnavailable as error:
            logger.warning("A message of channel %s may be lost: its receiver was cancelled, and %s", channel, error)

    async def _pop(self, channel: str) -> bytes | None:
        key, host = self._key(channel), self._hosts.of(channel)
        await host.execute("EVAL", _PREPARE, 2, key, self._readers_key(channel), self._group_expiry_ms)
        reply = await host.execute("BLPOP", key, BLOCK, server_waits=BLOCK)
        return None if reply is None else bytes(reply[1])

    def _open(self, channel: str, entry: bytes) -> dict[str, Any] | None:
        """Return the message in an entry; None where it cannot be read, or excludes this channel."""
        remote = self._codec.decode(entry[DEADLINE_LENGTH:])
        if remote is None:
            return None
        message = GroupMessage(remote.content, remote.trace)
        return None if remote.kind is Kind.GROUP and message.exclude == channel else message.copy()

    async def _push(self, channel: str, payload: bytes, *keys: str) -> int:
        limits = [self._options.capacity_of(channel), int(self._options.expiry * 1000)]
        return int(await self._hosts.of(channel).execute("EVAL", _PUSH, len(keys), *keys, payload, *limits))

    def _key(self, channel: str) -> str:
        return f"{self._options.prefix}:work:{channel}"

    def _readers_key(self, channel: str) -> str:
        return f"{self._options.prefix}:read:{channel}"
