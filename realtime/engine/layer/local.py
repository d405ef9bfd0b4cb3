"""The members of this process: their channels, their groups, and delivery to them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from realtime.engine.layer.channel_queue import ChannelMessage, ChannelQueue, QueueRules, ReaderQueue, Subscription
from realtime.engine.layer.fanout import Deliverer
from realtime.engine.layer.group_message import GroupMessage
from realtime.engine.layer.groups import Groups

__all__ = ["LocalMembers"]

#: Seconds that a sender waits for another thread's event loop that does not keep up.
OTHER_LOOP_TIMEOUT = 5.0

#: Members that get ``layer.resynchronise`` before the event loop gets a turn.
RESYNCHRONISED_PER_ITERATION = 1000


#: The members of a group by the event loop in which they are reached; None: any.
Audience = dict[asyncio.AbstractEventLoop | None, list[ChannelQueue]]


class LocalMembers:
    """The channels of one process, from any thread and event loop.

    Args:
        rules: what all queues have in common.
        capacity_of: returns a channel's capacity.
        group_expiry: seconds for which a channel that nobody reads stays in its groups.
        on_deserted: called with each group that has lost its last member.
    """

    def __init__(
        self,
        rules: QueueRules,
        capacity_of: Callable[[str], int],
        group_expiry: float,
        on_deserted: Callable[[str], None],
    ) -> None:
        self._rules = rules
        self._capacity_of = capacity_of
        self._group_expiry = group_expiry
        self._on_deserted = on_deserted
        self._lock = threading.Lock()
        self._members: dict[str, ChannelQueue] = {}
        self._groups: Groups[ChannelQueue, Audience] = Groups(_by_loop)
        self._deliverers: dict[asyncio.AbstractEventLoop, Deliverer] = {}
        self._next_sweep = 0.0

    def __len__(self) -> int:
        return len(self._members)

    def groups(self) -> list[str]:
        """Return the names of the groups that have members here."""
        return self._groups.names()

    def has_members(self, group: str) -> bool:
        """Return whether a group has members here."""
        return group in self._groups

    def attach(self, channel: str, wake: Callable[[], None], *, resynchronise: bool) -> Subscription:
        """Give a channel to a consumer of the running event loop; see ``FanoutChannelLayer.attach()``.

        Raises:
            ValueError: if the channel is attached already.
        """
        subscription = Subscription(
            channel,
            self._capacity_of(channel),
            self._rules,
            wake=wake,
            close=self._forget,
            resynchronise=resynchronise,
        )
        with self._lock:
            former = self._members.get(channel)
            match former:
                case Subscription():
                    raise ValueError(f"channel {channel} is attached already")
            self._members[channel] = subscription
        if former is not None:
            self._move(former, subscription)
        return subscription

    @contextmanager
    def reading(self, channel: str) -> Iterator[ReaderQueue]:
        """Hold the queue of a channel while it is read.

        Raises:
            RuntimeError: if the channel is attached.
        """
        with self._lock:
            match self._member(channel):
                case ReaderQueue() as queue:
                    queue.readers += 1
                case _:
                    raise RuntimeError(f"channel {channel} is attached: its consumer takes the messages")
        kept_for = self._group_expiry
        try:
            yield queue
        except asyncio.CancelledError:
            # A consumer that ends is cancelled here and says nothing else. Nor does one that only waited for a while.
            kept_for = min(self._rules.expiry, self._group_expiry)
            raise
        finally:
            with self._lock:
                queue.readers -= 1
                queue.kept_until = self._rules.clock() + kept_for
                self._free_if_idle(queue)

    def post(self, channel: str, message: ChannelMessage) -> bool:
        """Put a message into a channel's queue; returns whether it fitted."""
        with self._lock:
            member = self._member(channel)
            if isinstance(member, ReaderQueue):
                # Within the lock: a queue that is empty may be freed by another thread.
                return member.post(message)
        return member.post(message)

    def add(self, group: str, channel: str) -> None:
        """Put a channel into a group."""
        with self._lock:
            self._groups.add(group, self._member(channel))

    def discard(self, group: str, channel: str) -> None:
        """Take a channel out of a group, if it is in it."""
        with self._lock:
            member = self._members.get(channel)
            if member is None:
                return
            is_deserted = self._groups.discard(group, member)
            self._free_if_idle(member)
        if is_deserted:
            self._on_deserted(group)

    async def deliver(self, group: str, message: GroupMessage) -> None:
        """Hand a message to the members of a group.

        Those of a large group get it in the next turns of their loop, which is not waited for unless it is behind.
        """
        here = asyncio.get_running_loop()
        excluded = None if message.exclude is None else self._members.get(message.exclude)
        for loop, members in self._groups.members(group).items():
            if loop is None or loop is here:
                deliverer = self._deliverer(here)
                rest = deliverer.deliver(members, message, excluded)
                # Stock channels are of no loop: this one may be that of a single ``async_to_sync`` and end with it.
                if rest is not None and (loop is None or deliverer.is_behind):
                    await asyncio.wrap_future(rest)
                continue
            try:
                await _wait_for_other_loop(self._deliverer(loop).deliver_threadsafe(members, message, excluded))
            except RuntimeError:  # the loop is closed, and its consumers with it
                for member in members:
                    self._forget(member)

    async def resynchronise(self) -> None:
        """Report to every member that it may have missed something."""
        for number, member in enumerate(list(self._members.values()), start=1):
            member.resynchronise()
            if number % RESYNCHRONISED_PER_ITERATION == 0:
                await asyncio.sleep(0)

    def sweep(self) -> None:
        """Free the channels that nobody reads any more; a look at the clock, until ``expiry`` seconds have passed."""
        now = self._rules.clock()
        if now < self._next_sweep:
            return
        with self._lock:
            self._next_sweep = now + self._rules.expiry
            for member in list(self._members.values()):
                self._free_if_idle(member)

    def clear(self) -> None:
        """Forget all groups and all messages; attached channels stay attached."""
        deserted = self._groups.names()
        self._groups.clear()
        for group in deserted:
            self._on_deserted(group)
        with self._lock:
            members = list(self._members.values())
            self._members = {member.name: member for member in members if isinstance(member, Subscription)}
        for member in members:
            member.clear()

    def _deliverer(self, loop: asyncio.AbstractEventLoop) -> Deliverer:
        deliverer = self._deliverers.get(loop)
        if deliverer is None:
            with self._lock:
                for other in [other for other in self._deliverers if other.is_closed()]:
                    del self._deliverers[other]
                deliverer = self._deliverers.setdefault(loop, Deliverer(loop, self._rules.statistics))
        return deliverer

    def _member(self, channel: str) -> ChannelQueue:
        """Return the channel's member, a new one where the channel is not known yet; under the lock."""
        member = self._members.get(channel)
        if member is None:
            kept_until = self._rules.clock() + self._group_expiry
            member = ReaderQueue(channel, self._capacity_of(channel), self._rules, kept_until=kept_until)
            self._members[channel] = member
        return member

    def _move(self, former: ChannelQueue, subscription: Subscription) -> None:
        """Give the messages and the memberships of a channel to the consumer that has attached it."""
        for group in self._groups.groups_of(former):
            self._groups.add(group, subscription)
            self._groups.discard(group, former)
        while former:
            subscription.post(former.get_nowait())

    def _forget(self, member: ChannelQueue) -> None:
        with self._lock:
            deserted = self._free(member)
        for group in deserted:
            self._on_deserted(group)

    def _free(self, member: ChannelQueue) -> list[str]:
        if self._members.get(member.name) is member:
            del self._members[member.name]
        return self._groups.leave_all(member)

    def _free_if_idle(self, member: ChannelQueue) -> None:
        """Free a queue that nobody uses, under the lock."""
        if not isinstance(member, ReaderQueue) or member.readers:
            return
        in_use = member or self._groups.groups_of(member)
        if not in_use or self._rules.clock() >= member.kept_until:
            for group in self._free(member):
                self._on_deserted(group)


def _by_loop(members: Iterable[ChannelQueue]) -> Audience:
    audience: Audience = {}
    for member in members:
        audience.setdefault(member.loop, []).append(member)
    return audience


async def _wait_for_other_loop(done: concurrent.futures.Future[None] | None) -> None:
    if done is not None:
        await asyncio.wait([asyncio.wrap_future(done)], timeout=OTHER_LOOP_TIMEOUT)
