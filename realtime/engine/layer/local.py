"""The members of this process: their channels, their groups, and delivery to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from realtime.engine.layer.fanout import Deliverer
from realtime.engine.layer.group_message import GroupMessage
from realtime.engine.layer.options import LayerOptions
from realtime.engine.layer.subscription import ChannelMessage, Subscription

#: Seconds that a sender waits for another thread's event loop that does not keep up.
OTHER_LOOP_TIMEOUT = 5.0

#: Members that get ``layer.resynchronise`` before the event loop gets a turn.
RESYNCHRONISED_PER_ITERATION = 1000

#: The members of a group by the event loop in which they are reached; None: any.
Audience = dict[asyncio.AbstractEventLoop | None, list[Subscription]]


class LocalMembers:
    """The channels and groups of one process, from any thread and event loop.

    An audience is made once and kept until its group changes: a fan-out neither sorts the members nor holds the lock.
    """

    def __init__(self, options: LayerOptions) -> None:
        self._options = options
        self._lock = options.lock
        self._channels: dict[str, Subscription] = {}
        self._groups: dict[str, dict[Subscription, None]] = {}
        self._audiences: dict[str, Audience] = {}
        self._deliverers: dict[asyncio.AbstractEventLoop, Deliverer] = {}
        self._next_sweep = 0.0

    def __len__(self) -> int:
        return len(self._channels)

    def groups(self) -> list[str]:
        with self._lock:
            return list(self._groups)

    def has_members(self, group: str) -> bool:
        return group in self._groups

    def attach(self, channel: str, wake: Callable[[], None], *, resynchronise: bool) -> Subscription:
        """Give a channel, its messages and its memberships to a consumer of the running event loop."""
        with self._lock:
            subscription = self._channel(channel)
            if subscription.loop is not None:
                raise ValueError(f"channel {channel} is attached already")
            for group in subscription.groups or ():
                self._audiences.pop(group, None)  # it is reached in its consumer's loop from now on
            subscription.attach(wake, self._forget, resynchronise=resynchronise)
        return subscription

    async def receive(self, channel: str) -> ChannelMessage:
        """Wait for the oldest message of a channel that is not attached."""
        with self._lock:
            queue = self._channel(channel)
            if queue.loop is not None:
                raise RuntimeError(f"channel {channel} is attached: its consumer takes the messages")
            queue.readers += 1
        kept_for = self._options.group_expiry
        try:
            return await queue.get()
        except asyncio.CancelledError:
            # A consumer that ends is cancelled here and says nothing else. Nor does one that only waited for a while.
            kept_for = min(self._options.expiry, kept_for)
            raise
        finally:
            with self._lock:
                queue.readers -= 1
                queue.kept_until = self._options.clock() + kept_for
                self._free_if_idle(queue)

    def post(self, channel: str, message: ChannelMessage) -> bool:
        """Put a message into a channel's queue; returns whether it fitted."""
        with self._lock:  # a queue that is empty may be freed by another thread
            return self._channel(channel).post(message)

    def add(self, group: str, channel: str) -> None:
        with self._lock:
            member = self._channel(channel)
            members = self._groups.setdefault(group, {})
            if member not in members:
                members[member] = None
                member.groups = member.groups or set()
                member.groups.add(group)
                self._audiences.pop(group, None)

    def discard(self, group: str, channel: str) -> None:
        with self._lock:
            member = self._channels.get(channel)
            if member is not None:
                self._leave(group, member)
                self._free_if_idle(member)

    def audience(self, group: str) -> Audience:
        """Return the members of a group by event loop, in the order in which they came; do not change it."""
        audience = self._audiences.get(group)
        if audience is None:
            audience = {}
            with self._lock:
                for member in self._groups.get(group, ()):
                    audience.setdefault(member.loop, []).append(member)
                if audience:
                    self._audiences[group] = audience
        return audience

    async def deliver(self, group: str, message: GroupMessage) -> None:
        """Hand a message to the members of a group.

        Those of a large group get it in the next turns of their loop, which is not waited for unless it is behind.
        """
        here = asyncio.get_running_loop()
        excluded = None if message.exclude is None else self._channels.get(message.exclude)
        for loop, members in self.audience(group).items():
            if loop is None or loop is here:
                deliverer = self._deliverer(here)
                rest = deliverer.deliver(members, message, excluded)
                # Stock channels are of no loop: this one may be that of a single ``async_to_sync`` and end with it.
                if rest is not None and (loop is None or deliverer.is_behind):
                    await asyncio.wrap_future(rest)
                continue
            try:
                rest = self._deliverer(loop).deliver_threadsafe(members, message, excluded)
            except RuntimeError:  # the loop is closed, and its consumers with it
                for member in members:
                    self._forget(member)
            else:
                if rest is not None:
                    await asyncio.wait([asyncio.wrap_future(rest)], timeout=OTHER_LOOP_TIMEOUT)

    async def resynchronise(self) -> None:
        """Report to every member that it may have missed something."""
        for number, member in enumerate(list(self._channels.values()), start=1):
            member.resynchronise()
            if number % RESYNCHRONISED_PER_ITERATION == 0:
                await asyncio.sleep(0)

    def sweep(self) -> None:
        """Free the channels that nobody reads any more; a look at the clock, until ``expiry`` seconds have passed."""
        now = self._options.clock()
        if now < self._next_sweep:
            return
        with self._lock:
            self._next_sweep = now + self._options.expiry
            for member in list(self._channels.values()):
                self._free_if_idle(member)

    def clear(self) -> None:
        """Forget all groups and all messages; channels that are attached or read stay so."""
        with self._lock:
            for member in list(self._channels.values()):
                self._leave_all(member)
                member.clear()
                self._free_if_idle(member)

    def _deliverer(self, loop: asyncio.AbstractEventLoop) -> Deliverer:
        deliverer = self._deliverers.get(loop)
        if deliverer is None:
            with self._lock:
                for other in [other for other in self._deliverers if other.is_closed()]:
                    del self._deliverers[other]
                deliverer = self._deliverers.setdefault(loop, Deliverer(loop, self._options.statistics))
        return deliverer

    # All below are called under the lock.

    def _channel(self, channel: str) -> Subscription:
        member = self._channels.get(channel)
        if member is None:
            member = self._channels[channel] = Subscription(channel, self._options)
        return member

    def _leave(self, group: str, member: Subscription) -> None:
        if member.groups and group in member.groups:
            member.groups.remove(group)
            self._audiences.pop(group, None)
            members = self._groups[group]
            del members[member]
            if not members:
                del self._groups[group]

    def _leave_all(self, member: Subscription) -> None:
        for group in tuple(member.groups or ()):
            self._leave(group, member)

    def _forget(self, member: Subscription) -> None:
        with self._lock:
            if self._channels.get(member.name) is member:
                del self._channels[member.name]
            self._leave_all(member)

    def _free_if_idle(self, member: Subscription) -> None:
        if member.loop is None and not member.readers:
            in_use = member or member.groups
            if not in_use or self._options.clock() >= member.kept_until:
                self._forget(member)
