"""``FanoutChannelLayer``: a Channels backend whose groups reach connections without a queue, task or copy for each."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import secrets
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from channels.exceptions import ChannelFull
from channels.layers import BaseChannelLayer

from realtime.layers.delivery import Deliverer
from realtime.layers.groups import Groups
from realtime.layers.mailbox import Mailbox, MailboxRules
from realtime.layers.members import Member, Queue, Subscription
from realtime.layers.parcel import Parcel
from realtime.layers.statistics import Statistics

__all__ = ["FanoutChannelLayer"]

#: Seconds that a sender waits for another thread's event loop that does not keep up.
FOREIGN_LOOP_PATIENCE = 5.0


class FanoutChannelLayer(BaseChannelLayer):
    """A channel layer for one process.

    Args:
        expiry: seconds after which a message that nobody took is dropped.
        group_expiry: seconds for which a channel that nobody reads stays in its groups. Attached channels and those
            that somebody reads stay for as long as they live.
        capacity: how many messages wait in one channel's mailbox.
        channel_capacity: other capacities by channel name, as globs or compiled patterns.
    """

    extensions = ("groups", "flush")

    def __init__(
        self,
        *,
        expiry: float = 60,
        group_expiry: float = 86400,
        capacity: int = 100,
        channel_capacity: Mapping[Any, int] | None = None,
    ) -> None:
        super().__init__(
            expiry=expiry, capacity=capacity, channel_capacity=self.compile_capacities(channel_capacity or {})
        )
        self.group_expiry = group_expiry
        self.statistics = Statistics()
        self._rules = MailboxRules(expiry=expiry, statistics=self.statistics)
        self._process = uuid.uuid4().hex[:16]
        self._lock = threading.Lock()
        self._members: dict[str, Member] = {}
        self._groups: Groups[Member] = Groups()
        self._deliverers: dict[asyncio.AbstractEventLoop, Deliverer] = {}
        self._numbers: dict[str, itertools.count[int]] = {}
        self._next_sweep = 0.0

    # Channels

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Return the name of a new channel of this process; nothing is sent and nothing is stored for it."""
        return f"{prefix}{self._process}!{secrets.token_hex(8)}"

    def attach(self, channel_name: str, *, wake: Callable[[], None], resynchronise: bool = False) -> Subscription:
        """Give a channel to a consumer that takes its mail itself instead of calling ``receive()``.

        To be called in the consumer's event loop; the mail is announced there.

        Args:
            channel_name: a name from ``new_channel()``.
            wake: called when mail is put into an empty mailbox.
            resynchronise: whether the consumer wants ``layer.resynchronise`` when it may have missed something.

        Raises:
            ValueError: if the channel is attached already.
        """
        self.require_valid_channel_name(channel_name)
        subscription = Subscription(
            channel_name,
            self.get_capacity(channel_name),
            self._rules,
            wake=wake,
            close=self._forget,
            loop=asyncio.get_running_loop(),
            resynchronise=resynchronise,
        )
        with self._lock:
            former = self._members.get(channel_name)
            match former:
                case Subscription():
                    raise ValueError(f"channel {channel_name} is attached already")
            self._members[channel_name] = subscription
        if former is not None:
            self._move(former, subscription)
        return subscription

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Send a message to one channel.

        Raises:
            ChannelFull: if the channel's mailbox has no room.
            TypeError: if the name is not valid.
        """
        assert isinstance(message, dict), "message is not a dict"
        self.require_valid_channel_name(channel)
        self._sweep()
        if not self._post(channel, Parcel(message).copy()):
            raise ChannelFull(channel)
        self.statistics.delivered += 1

    async def receive(self, channel: str) -> dict[str, Any]:
        """Wait for the oldest message of a channel; where several callers wait, one of them gets it.

        Raises:
            RuntimeError: if the channel is attached: its mail goes to its consumer.
            TypeError: if the name is not valid.
        """
        self.require_valid_channel_name(channel)
        self._sweep()
        with self._lock:
            match self._member(channel):
                case Queue() as queue:
                    queue.readers += 1
                case _:
                    raise RuntimeError(f"channel {channel} is attached: its consumer takes the mail")
        kept_for = self.group_expiry
        try:
            return await queue.get()
        except asyncio.CancelledError:
            # A consumer that ends is cancelled here and says nothing else. Nor does one that only waited for a while.
            kept_for = min(self.expiry, self.group_expiry)
            raise
        finally:
            with self._lock:
                queue.readers -= 1
                queue.kept_until = self._rules.clock() + kept_for
                self._free_if_idle(queue)

    # Groups

    async def group_add(self, group: str, channel: str) -> None:
        """Put a channel into a group; harmless if it is in it.

        Raises:
            TypeError: if a name is not valid.
        """
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        self._sweep()
        with self._lock:
            self._groups.add(group, self._member(channel))

    async def group_discard(self, group: str, channel: str) -> None:
        """Take a channel out of a group; harmless if it is not in it.

        Raises:
            TypeError: if a name is not valid.
        """
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        with self._lock:
            member = self._members.get(channel)
            if member is None:
                return
            self._groups.discard(group, member)
            self._free_if_idle(member)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Send a message to every channel of a group; a full mailbox loses it, and the layer's statistics say so.

        ``{"type": "websocket.send", "text" | "bytes": ..., "exclude": channel}`` goes straight to the connections of
        attached members, except to the excluded channel.

        Raises:
            TypeError: if the name is not valid.
            ValueError: if a ``websocket.send`` message is not either text or bytes.
        """
        assert isinstance(message, dict), "message is not a dict"
        self.require_valid_group_name(group)
        self._sweep()
        await self._deliver(self._groups.members(group), Parcel(message))

    # Beyond the Channels interface

    async def next_number(self, name: str) -> int:
        """Return 1, 2, 3 and so on for each name."""
        with self._lock:
            return next(self._numbers.setdefault(name, itertools.count(1)))

    async def check(self) -> None:
        """Return when messages can be delivered; raise what prevents it."""

    async def flush(self) -> None:
        """Forget all groups and all mail; attached channels stay attached."""
        self._groups.clear()
        with self._lock:
            members = list(self._members.values())
            self._members = {member.channel_name: member for member in members if isinstance(member, Subscription)}
        for member in members:
            member.mailbox.clear()

    async def close(self) -> None:
        """Free what the layer holds in this event loop."""
        self._deliverers.pop(asyncio.get_running_loop(), None)

    # Inside

    async def _deliver(self, members: Iterable[Member], parcel: Parcel) -> None:
        here = asyncio.get_running_loop()
        by_loop: dict[asyncio.AbstractEventLoop, list[Member]] = {}
        for member in members:
            by_loop.setdefault(member.loop or here, []).append(member)
        for loop, recipients in by_loop.items():
            if loop is here:
                continue
            try:
                await _wait_for_other_loop(self._deliverer(loop).deliver_threadsafe(recipients, parcel))
            except RuntimeError:  # the loop is closed, and its consumers with it
                for member in recipients:
                    self._forget(member)
        if here in by_loop:
            rest = self._deliverer(here).deliver(by_loop[here], parcel)
            if rest is not None:
                await asyncio.wrap_future(rest)

    def _deliverer(self, loop: asyncio.AbstractEventLoop) -> Deliverer:
        deliverer = self._deliverers.get(loop)
        if deliverer is None:
            with self._lock:
                for other in [other for other in self._deliverers if other.is_closed()]:
                    del self._deliverers[other]
                deliverer = self._deliverers.setdefault(loop, Deliverer(loop, self.statistics))
        return deliverer

    def _member(self, channel: str) -> Member:
        """Return the channel's member, a new one where the channel is not known yet; under the lock."""
        member = self._members.get(channel)
        if member is None:
            mailbox = Mailbox(channel, self.get_capacity(channel), self._rules)
            member = self._members[channel] = Queue(mailbox, self._rules.clock() + self.group_expiry)
        return member

    def _post(self, channel: str, message: dict[str, Any]) -> bool:
        with self._lock:
            member = self._member(channel)
            if isinstance(member, Queue):
                # Within the lock: a queue that is empty may be freed by another thread.
                return member.post(message)
        return member.post(message)

    def _move(self, former: Member, subscription: Subscription) -> None:
        """Give the mail and the memberships of a channel to the consumer that has attached it."""
        for group in self._groups.groups_of(former):
            self._groups.add(group, subscription)
            self._groups.discard(group, former)
        while former.mailbox:
            subscription.post(former.mailbox.get_nowait())

    def _forget(self, member: Member) -> None:
        """Take a member out of all its groups and free its channel."""
        with self._lock:
            self._free(member)

    def _free(self, member: Member) -> None:
        self._groups.leave_all(member)
        if self._members.get(member.channel_name) is member:
            del self._members[member.channel_name]

    def _free_if_idle(self, member: Member) -> None:
        if not isinstance(member, Queue) or member.readers:
            return
        in_use = member.mailbox or self._groups.groups_of(member)
        if not in_use or self._rules.clock() >= member.kept_until:
            self._free(member)

    def _sweep(self) -> None:
        """Free the channels that nobody reads any more; a look at the clock, until ``expiry`` seconds have passed."""
        now = self._rules.clock()
        if now < self._next_sweep:
            return
        with self._lock:
            self._next_sweep = now + self.expiry
            for member in list(self._members.values()):
                self._free_if_idle(member)


async def _wait_for_other_loop(done: concurrent.futures.Future[None] | None) -> None:
    if done is not None:
        await asyncio.wait([asyncio.wrap_future(done)], timeout=FOREIGN_LOOP_PATIENCE)
