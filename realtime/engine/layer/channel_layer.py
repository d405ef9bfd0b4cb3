"""``FanoutChannelLayer``: a Channels backend whose groups reach connections without a queue, task or copy for each."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import secrets
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from channels.exceptions import ChannelFull
from channels.layers import BaseChannelLayer, InMemoryChannelLayer

from realtime.engine.layer.group_message import GroupMessage, Kind
from realtime.engine.layer.local import LocalMembers
from realtime.engine.layer.options import PROCESS_ID_LENGTH, LayerOptions, Timing
from realtime.engine.layer.redis.broker import RedisBroker
from realtime.engine.layer.subscription import ChannelMessage, Subscription
from realtime.engine.monitoring.counters import BROADCAST_SECONDS
from realtime.engine.monitoring.tracing import TRACING, Carrier


class FanoutChannelLayer(BaseChannelLayer):
    """A channel layer for one process, or through Redis for many.

    Every method raises ``TypeError`` for a name that is not valid.

    Args:
        hosts: the Redis servers that join the processes, as for channels_redis: URLs, pairs of host and port, or
            dicts (``address``, or ``sentinels`` and ``master_name``). None: everything stays in this process.
        prefix: what every key and Redis channel begins with; projects that share a Redis differ in it.
        expiry: seconds after which a message that nobody took is dropped.
        group_expiry: seconds for which a channel that nobody reads stays in its groups. Attached channels and those
            that somebody reads stay for as long as they live.
        capacity: how many messages wait in one channel's queue.
        channel_capacity: other capacities by channel name, as globs or compiled patterns.
        serializer_format: how messages are written for other processes, ``msgpack`` or ``json``.
        symmetric_encryption_keys: keys for encryption, the first one for sending, all for receiving.
        timing: how long to wait for Redis, in seconds: ``connect``, ``command``, ``silence``, ``linger``.
    """

    extensions = ("groups", "flush")

    def __init__(
        self,
        hosts: Sequence[Any] | None = None,
        *,
        prefix: str = "realtime",
        expiry: float = 60,
        group_expiry: float = 86400,
        capacity: int = 100,
        channel_capacity: Mapping[Any, int] | None = None,
        serializer_format: str = "msgpack",
        symmetric_encryption_keys: list[str | bytes] | None = None,
        timing: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(
            expiry=expiry, capacity=capacity, channel_capacity=self.compile_capacities(channel_capacity or {})
        )
        self.group_expiry = group_expiry
        self.hosts = hosts
        self._encoding = serializer_format, symmetric_encryption_keys
        self._new_options = functools.partial(
            LayerOptions,
            prefix=prefix,
            expiry=expiry,
            group_expiry=group_expiry,
            capacity_of=self.get_capacity,
            timing=Timing(**(timing or {})),
        )
        self._start()
        _layers.add(self)

    def _start(self) -> None:
        """Begin without members: at the start, and in a forked process, whose parent keeps them."""
        options = self._new_options()
        self.statistics = options.statistics
        self.local = LocalMembers(options)
        self._process = options.process
        self._numbers: dict[str, itertools.count[int]] = {}
        self._broker: RedisBroker | None = None
        if self.hosts is not None:
            self._broker = RedisBroker(self.hosts, options, self.local, *self._encoding)

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Return the name of a new channel of this process.

        The first call of a process waits until its connection to Redis is up or has failed; later ones do no I/O.
        """
        if self._broker is not None:
            await self._broker.ready()
        return f"{prefix}{self._process}!{secrets.token_hex(8)}"

    def attach(self, channel_name: str, *, wake: Callable[[], None], resynchronise: bool = False) -> Subscription:
        """Give a channel to a consumer that takes its messages itself instead of calling ``receive()``.

        Call it in the consumer's event loop; ``wake`` is called there.

        Args:
            channel_name: a name from ``new_channel()``.
            wake: called when a message is put into an empty queue.
            resynchronise: whether the consumer wants ``layer.resynchronise`` when it may have missed something.

        Raises:
            ValueError: if the channel is attached already, or belongs to another process.
        """
        self.require_valid_channel_name(channel_name)
        self._listen(channel_name)
        return self.local.attach(channel_name, wake, resynchronise=resynchronise)

    async def send(self, channel: str, message: ChannelMessage) -> None:
        """Send a message to one channel.

        Raises:
            ChannelFull: if the channel's queue has no room. Another process counts and logs what it drops itself.
            UpstreamUnavailable: if the channel is a named one (without ``!``) and Redis cannot be reached.
        """
        assert isinstance(message, dict), "message is not a dict"
        assert "__asgi_channel__" not in message, "__asgi_channel__ is a reserved key"
        self.require_valid_channel_name(channel)
        self.local.sweep()
        owner = self._owner(channel)
        with _sending("send", channel, message) as trace:
            if self._broker is None or owner == self._process:
                if not self.local.post(channel, GroupMessage(message, trace).copy()):
                    raise ChannelFull(channel)
                self.statistics.delivered += 1
                return
            if owner is not None:
                payload = self._broker.codec.encode(Kind.CHANNEL, channel, message, trace)
                await self._broker.send_to_process(owner, payload)
            elif not await self._broker.named.push(channel, message, trace):
                self.statistics.dropped += 1
                raise ChannelFull(channel)

    async def receive(self, channel: str) -> ChannelMessage:
        """Wait for the oldest message of a channel; where several callers wait, one of them gets it.

        Raises:
            RuntimeError: if the channel is attached: its messages go to its consumer.
            ValueError: if the channel belongs to another process.
            UpstreamUnavailable: if it is a named channel and Redis has not been reached since the process started.
        """
        self.require_valid_channel_name(channel)
        self.local.sweep()
        if self._broker is not None and self._owner(channel) is None:
            return await self._broker.named.receive(channel)
        self._listen(channel)
        return await self.local.receive(channel)

    async def group_add(self, group: str, channel: str) -> None:
        """Put a channel into a group; harmless if it is in it.

        When this returns, the channel gets every later message to the group, or ``layer.resynchronise``. The first
        member of the process costs a round trip to Redis, the others cost nothing. A channel of another process is
        added by that process, soon. Redis keeps the membership of a named channel (without ``!``).

        Raises:
            UpstreamUnavailable: if Redis has not been reached since the process started, or cannot be reached now and
                it is a named channel.
        """
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        self.local.sweep()
        owner = self._owner(channel)
        if self._broker is None:
            self.local.add(group, channel)
        elif owner is None:
            await self._broker.named.add(group, channel)
        elif owner == self._process:
            await self._broker.join(group, channel)
        else:
            await self._broker.send_to_process(owner, self._broker.codec.encode(Kind.ADD, channel, group))

    async def group_discard(self, group: str, channel: str) -> None:
        """Take a channel out of a group; harmless if it is not in it.

        Raises:
            UpstreamUnavailable: if it is a named channel and Redis cannot be reached.
        """
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        owner = self._owner(channel)
        if self._broker is None or owner == self._process:
            self.local.discard(group, channel)
        elif owner is None:
            await self._broker.named.discard(group, channel)
        else:
            await self._broker.send_to_process(owner, self._broker.codec.encode(Kind.DISCARD, channel, group))

    async def group_send(self, group: str, message: ChannelMessage) -> None:
        """Send a message to every channel of a group; a full queue loses it, and the layer's statistics count that.

        ``{"type": "websocket.send", "text" | "bytes": ..., "exclude": channel}`` goes straight to the connections of
        attached members, except to the excluded channel. Members of this process have the message when this returns,
        or, attached ones of a large group, within the next turns of the event loop; those of other processes get it
        through Redis. While Redis cannot be reached it waits, for ``expiry`` at most.

        Raises:
            ValueError: if a ``websocket.send`` message is not either text or bytes.
            UpstreamUnavailable: if Redis cannot be reached and this process has no members that could.
        """
        assert isinstance(message, dict), "message is not a dict"
        self.require_valid_group_name(group)
        self.local.sweep()
        start = time.perf_counter()
        with _sending("group_send", group, message) as trace:
            group_message = GroupMessage(message, trace)
            if self._broker is None:
                await self.local.deliver(group, group_message)
            else:
                # Encoded first: a value that others could not read is an error before any member has got the message.
                payload = self._broker.codec.encode(Kind.GROUP, group, message, trace)
                await self.local.deliver(group, group_message)
                await self._broker.publish(self._broker.named.group_key(group), payload)
        BROADCAST_SECONDS.observe(time.perf_counter() - start)

    # Beyond the Channels interface

    async def next_number(self, name: str) -> int:
        """Return 1, 2, 3 and so on for each name, every number once in all processes.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached; so do ``check()`` and ``flush()``.
        """
        if self._broker is not None:
            return await self._broker.next_number(name)
        return next(self._numbers.setdefault(name, itertools.count(1)))

    async def check(self) -> None:
        """Return when every Redis server has given an answer."""
        if self._broker is not None:
            await self._broker.check()

    async def flush(self) -> None:
        """Forget all groups and all messages, those in Redis too; attached channels stay attached."""
        self.local.clear()
        self._numbers.clear()
        if self._broker is not None:
            await self._broker.flush()

    async def close(self) -> None:
        """Close the connections of this event loop; the next use of the layer opens them again."""
        if self._broker is not None:
            await self._broker.close()

    def _listen(self, channel: str) -> None:
        if self._broker is not None:
            if self._owner(channel) != self._process:
                raise ValueError(f"channel {channel} is not one of this process")
            self._broker.listen()

    @staticmethod
    def _owner(channel: str) -> str | None:
        """Return the id of the process that a channel belongs to; None for a named channel."""
        before, mark, _ = channel.partition("!")
        return before[-PROCESS_ID_LENGTH:] if mark else None


def spans_processes(layer: Any) -> bool:
    """Return whether the groups of a channel layer reach other processes."""
    if isinstance(layer, FanoutChannelLayer):
        return layer.hosts is not None
    return not isinstance(layer, InMemoryChannelLayer)


_UNTRACED: contextlib.AbstractContextManager[None] = contextlib.nullcontext()


def _sending(operation: str, name: str, message: ChannelMessage) -> contextlib.AbstractContextManager[Carrier | None]:
    tracer = TRACING.tracer
    return _UNTRACED if tracer is None else tracer.sending(operation, name, message)


#: All layers of this process; a process has one for each alias.
_layers: weakref.WeakSet[FanoutChannelLayer] = weakref.WeakSet()


def start_in_forked_process() -> None:
    """Make every layer another process's: its channels must not be taken for those of its parent."""
    for layer in list(_layers):
        layer._start()


os.register_at_fork(after_in_child=start_in_forked_process)
