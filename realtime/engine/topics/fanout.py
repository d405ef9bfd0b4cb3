"""The fan-out of one room in one process: every stored message, once, in order, to every member.

Events of the channel layer may be lost, repeated or reordered. The fan-out orders them, drops repeats, and reads what
is missing from the database: shortly after a later message has arrived, and when the room's counters show it.

A message carries the ``access_version`` under which it was stored. When that is newer than the fan-out's, memberships
are read again before the message is passed on.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from django.db import DatabaseError, InterfaceError

from realtime.engine import DatabaseThreads, SharedMessage
from realtime.engine.services.reorder_buffer import ReorderBuffer
from realtime.engine.topics.presence import JOINED, LEFT, Transition, read_presence
from realtime.rooms.limits import limits
from realtime.rooms.models import Room
from realtime.rooms.permissions import Action, Person, Standing, decide
from realtime.rooms.protocol import Access, Presence, encode
from realtime.rooms.store.selectors import Entry, read_access, read_between, read_tail

logger = logging.getLogger("realtime.rooms")

#: Messages handed to members before the event loop gets a turn: a few milliseconds.
SENDS_PER_TURN = 1000

#: Before every version: what has to be read first.
UNREAD = -1


@dataclass(slots=True, eq=False)
class Member:
    """One connection in one room.

    Args:
        connection: identity of the connection.
        person: who it is.
        standing: what the person is to the room.
        access_version: the room's when the standing was looked up.
        send: queues a message for the connection, without waiting.
        expelled: called with the member when the person may not be here any longer.
    """

    connection: str
    person: Person
    standing: Standing
    access_version: int
    send: Callable[[SharedMessage], None]
    expelled: Callable[[Member], None]
    #: Set by ``RoomFanout.enter()``.
    fanout: RoomFanout = field(init=False)
    #: Every message after this number is for the member; none is while it joins.
    position: float = math.inf
    #: What has no number, and waits until the member has joined.
    held: list[SharedMessage] = field(default_factory=list)

    @property
    def room(self) -> Room:
        """The room, as of the fan-out's last look at its memberships."""
        return self.fanout.room

    def notify(self, shared: SharedMessage) -> None:
        """Send something that has no number; a member that reads its ``Joined`` too slowly misses it."""
        if self.position < math.inf:
            self.send(shared)
        elif len(self.held) < limits().held:
            self.held.append(shared)


class RoomFanout:
    """Passes on what happens in a room, from the moment at which ``room`` was read.

    Args:
        room: the room. When its counter of closings goes up, every member is expelled.
        reader: where database reads run.

    Attributes:
        room: the room as of the last look at its memberships.
    """

    def __init__(self, room: Room, reader: DatabaseThreads) -> None:
        self.room = room
        self._reader = reader
        self._loop = asyncio.get_running_loop()
        self._members: dict[str, Member] = {}
        self._messages: ReorderBuffer[Entry] = ReorderBuffer(room.last_seq, limits().held)
        #: Every message up to this number has been passed on.
        self._passed = room.last_seq
        self._passing_later: asyncio.Handle | None = None
        self._acknowledgements: dict[int, list[Callable[[], None]]] = {}
        #: Who is in the room, in every process: names by key.
        self._names: dict[str, str] = {}
        self._transitions: ReorderBuffer[Transition] = ReorderBuffer(UNREAD, limits().held)
        #: Nothing is passed on until memberships were read that are as new as what is needed.
        self._access_read = self._access_needed = room.access_version
        self._mending: asyncio.Task[None] | None = None

    # Members

    @property
    def members(self) -> list[Member]:
        """Everybody whom this process has in the room."""
        return list(self._members.values())

    def enter(self, member: Member) -> None:
        """Let a member in. It gets nothing before ``settle()``."""
        member.fanout = self
        self._members[member.connection] = member
        self._access_read = min(self._access_read, member.access_version)
        self._access_needed = max(self._access_needed, member.access_version)
        self._mend_if_behind()

    async def names_for(self, member: Member) -> list[str]:
        """Return the names of everybody in the room, in any process; changes from now on are news for the member.

        Raises:
            Room.DoesNotExist: if the room is gone.
        """
        if self._transitions.last == UNREAD:
            await self._read_presence()
        member.held.clear()
        return sorted({*self._names.values(), member.person.name})

    async def settle(self, member: Member, position: int) -> None:
        """Send a member what was passed on since its ``Joined``, and let it take part from then on.

        Args:
            member: the member, whose ``Joined`` has been sent.
            position: everything up to this number was in its ``Joined``.
        """
        while self._has(member) and position < self._passed:
            try:
                tail = await self._reader.run(read_between, self.room.pk, self.room.slug, position, self._passed)
            except (DatabaseError, InterfaceError) as error:
                await self._wait_for_database(error)
                continue
            if self._has(member):  # not expelled while reading
                for entry in tail.entries:
                    if entry.connection != member.connection:
                        member.send(SharedMessage(text=entry.text))
                position = tail.upto
        if self._has(member):
            member.position = position
            held, member.held = member.held, []
            for shared in held:
                member.send(shared)

    def leave(self, member: Member) -> None:
        """Stop passing anything to a member."""
        if self._has(member):
            del self._members[member.connection]

    def close(self) -> None:
        """Stop for good. What waits for an acknowledgement is acknowledged."""
        for waiting in (self._passing_later, self._mending):
            if waiting is not None:
                waiting.cancel()
        self._acknowledge(math.inf)

    # News

    def offer(self, entries: Iterable[Entry], access_version: int) -> None:
        """Take messages that were stored; in any order, repeated or not."""
        for entry in entries:
            self._messages.offer(entry.seq, entry)
        self._access_needed = max(self._access_needed, access_version)
        self._pass_on()
        self._mend_if_behind()

    def offer_transition(self, transition: Transition) -> None:
        """Take the news that a user has come or gone; in any order, repeated or not."""
        self._transitions.offer(transition.version, transition)
        self._pass_on_transitions()
        self._mend_if_behind()

    def pass_notice(self, text: str) -> None:
        """Pass an encoded message without a number to every member."""
        shared = SharedMessage(text=text)
        for member in self._members.values():
            member.notify(shared)

    def recheck(self) -> None:
        """Read settings and memberships again, and expel members who may not be here."""
        self._access_read = UNREAD
        self._mend_if_behind()

    def compare(self, room: Room | None) -> None:
        """Compare with the room's counters, and read what was missed. None: the room is gone."""
        if room is None:
            self._expel_everybody()
            return
        self._messages.expect(room.last_seq)
        self._transitions.expect(room.presence_version)
        self._access_needed = max(self._access_needed, room.access_version)
        self._mend_if_behind()

    def acknowledge(self, seq: int, acknowledge: Callable[[], None]) -> None:
        """Call ``acknowledge`` when every message up to ``seq`` has been passed on.

        So a client that has seen a number has seen everything before it, and can resume from there.
        """
        if seq <= self._passed:
            acknowledge()
        else:
            self._acknowledgements.setdefault(seq, []).append(acknowledge)

    # Passing on

    def _pass_on(self) -> None:
        if self._passing_later is not None or self._access_read < self._access_needed:
            return
        ready, sends = self._messages.ready, 0
        while ready:
            if sends > SENDS_PER_TURN:
                self._passing_later = self._loop.call_soon(self._pass_on_later)
                break
            entry = ready.popleft()
            shared = SharedMessage(text=entry.text)
            for member in self._members.values():
                if member.position < entry.seq and member.connection != entry.connection:
                    member.send(shared)
            self._passed = entry.seq
            sends += 1 + len(self._members)
        else:
            self._passed = self._messages.last
        if self._acknowledgements:
            self._acknowledge(self._passed)

    def _pass_on_later(self) -> None:
        self._passing_later = None
        self._pass_on()

    def _acknowledge(self, upto: float) -> None:
        for seq in sorted(seq for seq in self._acknowledgements if seq <= upto):
            for acknowledge in self._acknowledgements.pop(seq):
                acknowledge()

    def _pass_on_transitions(self) -> None:
        """Send arrivals and departures to the other members."""
        while self._transitions.ready:
            transition = self._transitions.ready.popleft()
            has_come = transition.state == JOINED
            if has_come == (transition.key in self._names):
                continue
            if has_come:
                self._names[transition.key] = transition.name
            else:
                del self._names[transition.key]
            event = Presence(room=self.room.slug, user=transition.name, state=transition.state)
            shared = SharedMessage(text=encode(event))
            for member in self._members.values():
                if member.person.key != transition.key:
                    member.notify(shared)

    def _has(self, member: Member) -> bool:
        return self._members.get(member.connection) is member

    def _expel_everybody(self) -> None:
        for member in self.members:
            self._expel(member)

    def _expel(self, member: Member) -> None:
        self.leave(member)
        member.expelled(member)

    # Mending

    @property
    def _is_behind(self) -> bool:
        return self._access_read < self._access_needed or self._messages.is_behind or self._transitions.is_behind

    def _mend_if_behind(self) -> None:
        if self._mending is None and self._is_behind:
            self._mending = self._loop.create_task(self._mend(), context=contextvars.Context())

    async def _mend(self) -> None:
        try:
            if self._access_read >= self._access_needed:
                await asyncio.sleep(limits().grace)  # What was overtaken may still come.
            while self._is_behind:
                try:
                    await self._read_what_is_missing()
                except (DatabaseError, InterfaceError) as error:
                    await self._wait_for_database(error)
        except Room.DoesNotExist:
            self._expel_everybody()
        finally:
            self._mending = None

    async def _wait_for_database(self, error: Exception) -> None:
        logger.warning("room %s cannot be read, its members wait: %s", self.room.slug, error)
        await asyncio.sleep(limits().tail_check)

    async def _read_what_is_missing(self) -> None:
        if self._messages.is_behind:
            tail = await self._reader.run(read_tail, self.room.pk, self.room.slug, self._messages.last)
            missing = [entry for entry in tail.entries if entry.seq > self._messages.last]
            self._messages.fill(missing, tail.upto)
            self._messages.expect(tail.last_seq)
            if missing:
                # Memberships that are read after these messages are at least as new as each of them.
                self._access_read = UNREAD
        if self._access_read < self._access_needed:
            await self._read_access()
        self._pass_on()
        if self._transitions.is_behind:
            await self._read_presence()

    async def _read_access(self) -> None:
        people = {member.person for member in self._members.values()}
        room, standings = await self._reader.run(read_access, self.room.pk, people)
        if room.closings > self.room.closings:
            self._expel_everybody()
        before, self.room = self.room, room
        for member in self.members:
            # Not one who has been admitted or has signed in meanwhile.
            if member.access_version < room.access_version and member.person.key in standings:
                self._check(member, standings[member.person.key], before)
        self._access_needed = max(self._access_needed, room.access_version)
        # A member who has come meanwhile may have been admitted before the change.
        self._access_read = min([room.access_version, *(member.access_version for member in self.members)])

    def _check(self, member: Member, standing: Standing, before: Room) -> None:
        was_removed = standing is Standing.OUTSIDER and member.standing is not Standing.OUTSIDER
        might_post = decide(member.standing, before, Action.POST) is None
        member.standing, member.access_version = standing, self.room.access_version
        if was_removed or decide(standing, self.room, Action.READ) is not None:
            self._expel(member)
            return
        may_post = decide(standing, self.room, Action.POST) is None
        if may_post is not might_post:
            member.notify(SharedMessage(text=encode(Access(room=self.room.slug, may_post=may_post))))

    async def _read_presence(self) -> None:
        version, names = await self._reader.run(read_presence, self.room.pk)
        if self._transitions.last == UNREAD:
            self._names = dict(names)
        if version >= self._transitions.last:
            gone = [(key, name) for key, name in self._names.items() if key not in names]
            news = [Transition(self.room.pk, version, key, name, LEFT) for key, name in gone]
            news += [Transition(self.room.pk, version, key, name, JOINED) for key, name in names.items()]
            self._transitions.fill(news, version)
            self._pass_on_transitions()
