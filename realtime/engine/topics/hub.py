"""What the rooms of one process share: the batches that are stored, the fan-outs, presence, the channel layer.

There is one hub for each event loop. Its tasks run while the process has a member in a room. Each runs in a context
of its own: it works for all connections, and its log lines name none of them.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import functools
import logging
import random
import weakref
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from channels.layers import get_channel_layer
from django.db import DatabaseError, InterfaceError
from prometheus_client import Gauge

from realtime.engine import ConsumerMailbox, DatabaseThreads
from realtime.engine.connections.lease import RENEWAL, current_lease
from realtime.engine.monitoring.metrics import REGISTRY
from realtime.engine.monitoring.tracing import Carrier, continuing, current_trace, trace_mail
from realtime.engine.topics import events
from realtime.engine.topics.batcher import Batcher
from realtime.engine.topics.fanout import Member, RoomFanout
from realtime.engine.topics.presence import (
    JOINED,
    LEFT,
    Change,
    Transition,
    processes_present,
    reconcile,
    store_changes,
)
from realtime.rooms.limits import limits
from realtime.rooms.models import Room
from realtime.rooms.permissions import Person
from realtime.rooms.protocol import PresenceState
from realtime.rooms.store.message_store import NOT_STORED, Outcome, Stored, Write, store_writes
from realtime.rooms.store.selectors import Entry

logger = logging.getLogger("realtime.rooms")

#: Reads wait for the database, not for the processor; on SQLite more would only queue up.
READING_THREADS = 2

#: Messages and presence are stored side by side.
WRITING_THREADS = 2

#: Rooms whose counters one query reads.
ROOMS_PER_QUERY = 500

#: Presence in doubt is written anew, and once more: a member may have left during the first time.
RECONCILIATIONS = 2

#: Processes compare their fan-outs at different moments.
JITTER = 0.25


class Hub:
    """The rooms of one process.

    Attributes:
        reader: database threads for reading.
        fanouts: the fan-outs of the rooms in which this process has members, by the primary key of the room.
    """

    def __init__(self) -> None:
        self.reader = DatabaseThreads("rooms-read", READING_THREADS)
        self._storing = DatabaseThreads("rooms-write", WRITING_THREADS)
        self._lease = current_lease()
        self._origin = self._lease.process.hex
        bounds = {"size": limits().batch, "capacity": limits().queue}
        self._writes: Batcher[Write, Outcome] = Batcher(
            "store room messages", self._store_writes, failed=lambda _: NOT_STORED, **bounds
        )
        self._changes: Batcher[Change, None] = Batcher(
            "store room presence", self._store_changes, failed=self._doubt_presence, **bounds
        )
        self.fanouts: dict[int, RoomFanout] = {}
        self._doubts = 0
        #: When Redis hangs, the oldest are dropped: other processes read them from the database.
        self._outgoing: collections.deque[tuple[int, Iterable[events.Event], Carrier | None]] = collections.deque(
            maxlen=limits().outgoing
        )
        self._publishing: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._delivery: ConsumerMailbox | None = None
        self._layer: Any = None
        self._channel = ""
        self._watching: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[Any]] = set()

    # Members

    async def enter(self, room: Room, member: Member) -> None:
        """Let a member into the fan-out of a room."""
        async with self._opening:
            await self._start()
            fanout = self.fanouts.get(room.pk)
            if fanout is None:
                await self._layer.group_add(events.fanout_group(room.pk), self._channel)
                fanout = self.fanouts[room.pk] = RoomFanout(room, self.reader)
            fanout.enter(member)

    async def attend(self, member: Member) -> None:
        """Store that a member is in its room. The others learn it if its user was not there before."""
        await self._changes.perform(self._change(member, JOINED))

    async def change_person(self, member: Member, person: Person) -> None:
        """Let a member be ``person``. Where that is another one, the others see the one go and the other come."""
        before = self._change(member, LEFT)
        member.person = person
        if before.key != person.key:
            await self._changes.perform(before)
            await self.attend(member)

    async def leave(self, member: Member) -> None:
        """Stop passing anything to a member, and store that it has gone; a fan-out without members ends."""
        fanout = member.fanout
        fanout.leave(member)
        await self._changes.perform(self._change(member, LEFT))
        async with self._opening:
            if fanout.members or self.fanouts.get(fanout.room.pk) is not fanout:
                return
            del self.fanouts[fanout.room.pk]
            fanout.close()
            await self._layer.group_discard(events.fanout_group(fanout.room.pk), self._channel)
            if not self.fanouts:
                await self._stop()

    def _change(self, member: Member, state: PresenceState) -> Change:
        person = member.person
        return Change(member.fanout.room.pk, self._lease.process, member.connection, person.key, person.name, state)

    # Writing

    async def write(self, write: Write, done: Callable[[Outcome], None]) -> None:
        """Store a message; ``done`` is called with the outcome once it is passed on to the members of this process."""
        await self._writes.submit(write, functools.partial(self._written, write.room_id, done))

    def _written(self, room_id: int, done: Callable[[Outcome], None], outcome: Outcome) -> None:
        fanout = self.fanouts.get(room_id)
        if isinstance(outcome, Stored) and fanout is not None:
            fanout.acknowledge(outcome.seq, functools.partial(done, outcome))
        else:
            done(outcome)

    async def _store_writes(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        outcomes = await self._storing.run(store_writes, writes)
        stored: dict[int, list[Entry]] = {}
        versions: dict[int, int] = {}
        for write, outcome in zip(writes, outcomes, strict=True):
            if isinstance(outcome, Stored) and not outcome.is_repeat:
                entry = Entry(outcome.seq, outcome.text, write.connection)
                stored.setdefault(write.room_id, []).append(entry)
                versions[write.room_id] = outcome.access_version
        for room_id, entries in stored.items():
            fanout = self.fanouts.get(room_id)
            if fanout is not None:
                fanout.offer(entries, versions[room_id])
            self._publish(room_id, events.messages(room_id, versions[room_id], entries, self._origin))
        return outcomes

    # Presence

    async def _store_changes(self, changes: Sequence[Change]) -> Sequence[None]:
        self._publish_transitions(await self._storing.run(store_changes, changes))
        return [None] * len(changes)

    def _doubt_presence(self, _: Change | None = None) -> None:
        self._doubts = RECONCILIATIONS

    def _publish_transitions(self, transitions: Sequence[Transition | None]) -> None:
        published: dict[int, list[events.Event]] = {}
        for transition in transitions:
            if transition is None:
                continue
            fanout = self.fanouts.get(transition.room_id)
            if fanout is not None:
                fanout.offer_transition(transition)
            published.setdefault(transition.room_id, []).append(events.presence(transition, self._origin))
        for room_id, news in published.items():
            self._publish(room_id, news)

    # To other processes

    def _publish(self, room_id: int, news: Iterable[events.Event]) -> None:
        """Queue events, which are sent one after the other."""
        self._outgoing.append((room_id, news, current_trace()))
        if self._publishing is None:
            self._publishing = asyncio.create_task(self._publish_all(), context=contextvars.Context())

    async def _publish_all(self) -> None:
        try:
            while self._outgoing:
                room_id, news, trace = self._outgoing.popleft()
                with continuing(trace):
                    await events.publish(room_id, news)
        finally:
            self._publishing = None

    # From other processes

    async def _handle(self, event: dict[str, Any]) -> None:
        if event["type"] == "layer.resynchronise":
            await self._survive(self._compare())
            return
        fanout = self.fanouts.get(event.get("room", 0))
        if fanout is None or event.get("origin") == self._origin:
            return
        match event["type"]:
            case "room.messages":
                fanout.offer((Entry(*fields) for fields in event["entries"]), event["access_version"])
            case "room.presence":
                fanout.offer_transition(Transition(*event["transition"]))
            case "room.changed":
                fanout.recheck()
            case "room.notice":
                fanout.pass_notice(event["text"])

    def _handling_failed(self, error: BaseException) -> None:
        logger.error("the rooms' channel has stopped; it is opened again", exc_info=error)
        self._delivery = None
        self.spawn(self._reopen())

    # The tasks

    async def _start(self) -> None:
        if self._delivery is None:
            self._layer = get_channel_layer()
            self._channel = await self._layer.new_channel()
            self._delivery = ConsumerMailbox(
                trace_mail(self._handle), asyncio.Lock(), self._handling_failed, contextvars.Context()
            )
            self._delivery.subscribe(self._layer, self._channel, resynchronise=True)
            for room_id in self.fanouts:
                await self._layer.group_add(events.fanout_group(room_id), self._channel)
        if self._watching is None:
            await self._lease.acquire(self._doubt_presence)
            self._watching = asyncio.create_task(self._watch(), context=contextvars.Context())

    async def _stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
            self._watching = None
            await self._lease.release(self._doubt_presence)
        if self._delivery is not None:
            await self._delivery.close()
            self._delivery = None

    async def _reopen(self) -> None:
        async with self._opening:
            if self.fanouts:
                await self._start()
        await self._survive(self._compare())

    async def _watch(self) -> None:
        """Look for lost messages, for members of processes that have ended, and for rows that were not written."""
        while True:
            await self._survive(self._reap())
            if self._doubts:
                await self._survive(self._reconcile())
            # Presence may wait for a few rounds; messages may not.
            for _ in range(max(1, round(RENEWAL / limits().tail_check))):
                jitter = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  no secret
                await asyncio.sleep(limits().tail_check * jitter)
                await self._survive(self._compare())

    async def _survive(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (DatabaseError, InterfaceError) as error:
            logger.warning("the rooms could not be compared with the database, the next round will: %s", error)

    async def _compare(self) -> None:
        ids = list(self.fanouts)
        for start in range(0, len(ids), ROOMS_PER_QUERY):
            chunk = ids[start : start + ROOMS_PER_QUERY]
            rooms = await self.reader.run(Room.objects.in_bulk, chunk)
            for room_id in self.fanouts.keys() & set(chunk):
                self.fanouts[room_id].compare(rooms.get(room_id))

    async def _reap(self) -> None:
        present = await self.reader.run(processes_present)
        for process in present - await self._lease.processes():
            self._publish_transitions(await self._storing.run(reconcile, process, []))

    async def _reconcile(self) -> None:
        """Make the rows of this process equal to its members."""
        present = [self._change(member, JOINED) for fanout in self.fanouts.values() for member in fanout.members]
        self._publish_transitions(await self._storing.run(reconcile, self._lease.process, present))
        self._doubts -= 1

    def spawn(self, work: Awaitable[Any]) -> None:
        """Run ``work`` beside everything else, and keep it alive."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = weakref.WeakKeyDictionary()


def _fanouts() -> list[RoomFanout]:
    return [fanout for hub in list(_hubs.values()) for fanout in list(hub.fanouts.values())]


Gauge("rooms_active", "Rooms with members in this process.", registry=REGISTRY).set_function(lambda: len(_fanouts()))
Gauge("rooms_members", "Connections of this process in rooms.", registry=REGISTRY).set_function(
    lambda: sum(len(fanout.members) for fanout in _fanouts())
)


def current_hub() -> Hub:
    """Return the hub of the running event loop; made at the first call."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]
