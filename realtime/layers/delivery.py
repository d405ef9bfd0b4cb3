"""Delivery to the members that live in one event loop: in order, and without holding the loop up."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from realtime.layers.parcel import Parcel
from realtime.layers.statistics import Statistics
from realtime.messages import SharedMessage

__all__ = ["DELIVERIES_PER_ITERATION", "Deliverer", "Recipient"]

logger = logging.getLogger(__name__)

#: After so many deliveries the event loop gets a turn: about ten milliseconds of work. It is not smaller, because
#: what one iteration of the loop delivers to a socket leaves in one system call.
DELIVERIES_PER_ITERATION = 5000

#: How many fan-outs another thread may have outstanding before its next one waits.
MAX_BACKLOG = 256


class Recipient(Protocol):
    """What a deliverer needs to know of a member."""

    direct: Callable[[SharedMessage], None] | None

    @property
    def channel_name(self) -> str:
        """The member's channel."""

    def post(self, message: dict[str, Any]) -> bool:
        """Put a message into the mailbox; returns whether it fitted."""


class _Delivery:
    __slots__ = ("done", "excluded", "members", "parcel", "position")

    def __init__(self, members: Sequence[Recipient], parcel: Parcel, excluded: Recipient | None, position: int) -> None:
        self.members = members
        self.parcel = parcel
        self.excluded = excluded
        self.position = position
        self.done: concurrent.futures.Future[None] = concurrent.futures.Future()


class Deliverer:
    """Hands parcels to members, first come, first served.

    A fan-out of more than ``DELIVERIES_PER_ITERATION`` members, or several that follow each other within one
    iteration of the loop and come to more than that, go on in the next iteration. A later parcel never overtakes an
    earlier one, so that each member gets them in the order in which they were sent.

    Args:
        loop: the event loop of the members.
        statistics: where deliveries are counted.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, statistics: Statistics) -> None:
        self.loop = loop
        self._statistics = statistics
        self._queue: deque[_Delivery] = deque()
        self._spent = 0
        self._backlog = 0
        self._lock = threading.Lock()

    def deliver(
        self, members: Sequence[Recipient], parcel: Parcel, excluded: Recipient | None = None
    ) -> concurrent.futures.Future[None] | None:
        """Deliver, in the loop's own thread.

        Args:
            members: who gets it; the list does not change any more.
            parcel: what they get.
            excluded: the one member that does not get it.

        Returns:
            None when all members have it; a future where the rest follows in the next iterations of the loop. A
            sender waits for it, or it would fill the memory.
        """
        position = 0
        if not self._queue:
            position = self._run(members, parcel, excluded, 0)
            if position == len(members):
                return None
        delivery = _Delivery(members, parcel, excluded, position)
        self._queue.append(delivery)
        return delivery.done

    def deliver_threadsafe(
        self, members: Sequence[Recipient], parcel: Parcel, excluded: Recipient | None = None
    ) -> concurrent.futures.Future[None] | None:
        """Deliver from any other thread or loop.

        Returns:
            None while the loop keeps up; a future for the caller to wait for where it does not.

        Raises:
            RuntimeError: if the loop has been closed.
        """
        done: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.loop.call_soon_threadsafe(self._deliver_foreign, members, parcel, excluded, done)
        with self._lock:
            self._backlog += 1
            return done if self._backlog > MAX_BACKLOG else None

    def _deliver_foreign(
        self,
        members: Sequence[Recipient],
        parcel: Parcel,
        excluded: Recipient | None,
        done: concurrent.futures.Future[None],
    ) -> None:
        with self._lock:
            self._backlog -= 1
        rest = self.deliver(members, parcel, excluded)
        if rest is None:
            _settle(done)
        else:
            rest.add_done_callback(lambda _: _settle(done))

    def _run(self, members: Sequence[Recipient], parcel: Parcel, excluded: Recipient | None, position: int) -> int:
        """Deliver as much as this iteration has room for; returns the first position that is left."""
        if not self._spent:
            self.loop.call_soon(self._next_iteration)
        stop = min(position + max(DELIVERIES_PER_ITERATION - self._spent, 0), len(members))
        shared, passed_over = parcel.shared, 0
        for member in members[position:stop]:
            if member is excluded:
                passed_over = 1
                continue
            try:
                direct = member.direct
                if direct is not None and shared is not None:
                    direct(shared)
                else:
                    member.post(parcel.copy())
            except Exception:
                # The outermost frame for one member: what is wrong with it must not keep the message from the others.
                logger.exception("A message could not be delivered to channel %s.", member.channel_name)
        self._statistics.delivered += stop - position - passed_over
        # Even a group of nobody counts as one: otherwise nothing would end the iteration.
        self._spent += max(stop - position, 1)
        return stop

    def _next_iteration(self) -> None:
        self._spent = 0
        while self._queue and self._spent < DELIVERIES_PER_ITERATION:
            delivery = self._queue[0]
            delivery.position = self._run(delivery.members, delivery.parcel, delivery.excluded, delivery.position)
            if delivery.position < len(delivery.members):
                return
            self._queue.popleft()
            _settle(delivery.done)


def _settle(done: concurrent.futures.Future[None]) -> None:
    # A sender that gave up has cancelled it.
    with contextlib.suppress(concurrent.futures.InvalidStateError):
        done.set_result(None)
