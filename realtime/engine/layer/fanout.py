"""Delivery to the members that live in one event loop: in order, and without holding the loop up."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from realtime.engine.layer.group_message import GroupMessage
from realtime.engine.layer.options import Statistics
from realtime.engine.layer.subscription import Subscription

logger = logging.getLogger(__name__)

#: A larger group is reached in slices of this size, with a turn for the event loop after each: what is queued on a
#: slice's connections is written while it is in the processor's cache, and the first member does not wait for the last.
SLICE = 512

#: After so many deliveries to small groups within one iteration the event loop gets a turn.
DELIVERIES_PER_ITERATION = 16 * SLICE

#: How many messages to the same members go along with each other.
MAX_MESSAGES = DELIVERIES_PER_ITERATION // SLICE

#: How many deliveries may wait for their turn before senders wait for it too.
MAX_PENDING = 5000

#: How many fan-outs another thread may have outstanding before its next one waits.
MAX_BACKLOG = 256

Done = concurrent.futures.Future[None]


@dataclass(slots=True)
class _FanOut:
    members: Sequence[Subscription]
    messages: list[tuple[GroupMessage, Subscription | None, Done]] = field(default_factory=list)
    position: int = 0


class Deliverer:
    """Hands messages to members, first come, first served.

    A fan-out to more than ``SLICE`` members begins at the end of this iteration of the loop and takes several. What
    is sent to the same members until it begins goes along with it: ten messages at once are one system call for each
    connection. A later message never overtakes an earlier one, so that each member gets them in the order in which
    they were sent.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, statistics: Statistics) -> None:
        self._loop = loop
        self._statistics = statistics
        self._queue: deque[_FanOut] = deque()
        self._foreign: deque[tuple[Sequence[Subscription], GroupMessage, Subscription | None, Done]] = deque()
        self._pending = 0
        self._spent = 0
        self._has_turn_coming = False

    @property
    def is_behind(self) -> bool:
        """Whether so much is pending that a sender waits, or it would fill the memory."""
        return self._pending > MAX_PENDING

    def deliver(
        self,
        members: Sequence[Subscription],
        message: GroupMessage,
        excluded: Subscription | None = None,
        done: Done | None = None,
    ) -> Done | None:
        """Deliver, in the loop's own thread, to a list of members that does not change any more.

        Returns:
            None when all members have it; ``done``, or a new future, where they get it in the next iterations.
        """
        is_small = len(members) <= SLICE and self._spent + len(members) <= DELIVERIES_PER_ITERATION
        if is_small and not self._queue:
            self._hand_out(members, message, excluded)
            self._come_back()
            return None
        last = self._queue[-1] if self._queue else None
        if last is None or last.members is not members or last.position or len(last.messages) >= MAX_MESSAGES:
            last = _FanOut(members)
            self._queue.append(last)
        done = Done() if done is None else done
        last.messages.append((message, excluded, done))
        self._pending += len(members)
        self._come_back()
        return done

    def deliver_threadsafe(
        self, members: Sequence[Subscription], message: GroupMessage, excluded: Subscription | None = None
    ) -> Done | None:
        """Deliver from any other thread or loop; raises ``RuntimeError`` if the loop has been closed.

        Returns:
            None while the loop keeps up; a future for the caller to wait for where it does not.
        """
        done = Done()
        self._foreign.append((members, message, excluded, done))
        self._loop.call_soon_threadsafe(self._deliver_foreign)
        return done if len(self._foreign) > MAX_BACKLOG else None

    def _deliver_foreign(self) -> None:
        members, message, excluded, done = self._foreign.popleft()
        if self.deliver(members, message, excluded, done) is None:
            finish(done)

    def _hand_out(self, members: Sequence[Subscription], message: GroupMessage, excluded: Subscription | None) -> None:
        shared, passed_over = message.shared, 0
        for member in members:
            if member is excluded:
                passed_over = 1
                continue
            try:
                direct = member.direct
                if direct is not None and shared is not None:
                    direct(shared)
                else:
                    member.post(message.copy())
            except Exception:
                # The outermost frame for one member: what is wrong with it must not keep the message from the others.
                logger.exception("A message could not be delivered to channel %s.", member.name)
        self._statistics.delivered += len(members) - passed_over
        self._spent += len(members)

    def _come_back(self) -> None:
        if not self._has_turn_coming:
            self._has_turn_coming = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Deliver as much as one iteration of the loop has room for."""
        self._has_turn_coming = False
        self._spent = 0
        while self._queue and self._spent < SLICE:
            fan_out = self._queue[0]
            begin = fan_out.position
            fan_out.position = begin + SLICE
            members = fan_out.members[begin : fan_out.position]
            for message, excluded, _ in fan_out.messages:
                self._hand_out(members, message, excluded)
            self._pending -= len(members) * len(fan_out.messages)
            if fan_out.position >= len(fan_out.members):
                self._queue.popleft()
                for *_, done in fan_out.messages:
                    finish(done)
        if self._queue:
            self._come_back()


def finish(done: Done) -> None:
    """Wake the sender that waits for ``done``, in whichever event loop."""
    if done.set_running_or_notify_cancel():  # a sender that gave up has cancelled it
        done.set_result(None)
