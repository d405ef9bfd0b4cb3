"""The fan-out of one room in one process: every stored message, once, in order, to every member.

Events of the channel layer may be lost, repeated or reordered. The fan-out orders them, drops repeats, and reads what
is missing from the database: shortly after a later message has arrived, and when the room's counters show it.

A message carries the ``access_version`` under which it was stored. When that is newer than the fan-out's, memberships
are read again before the message is passed on.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import enum
import logging
from collections.abc import Callable, Iterable

from django.db import DatabaseError, InterfaceError

from realtime.engine import DatabaseThreads, SharedMessage
from realtime.rooms.fanout.members import Member, MemberList
from realtime.rooms.fanout.reorder_buffer import ReorderBuffer
from realtime.rooms.limits import limits
from realtime.rooms.models import Room
from realtime.rooms.permissions import Action, Standing, decide, standing_from
from realtime.rooms.protocol import Presence, encode
from realtime.rooms.store.presence import Transition, read_presence
from realtime.rooms.store.selectors import Entry, read_access, read_between, read_tail

__all__ = ["RoomFanout"]

logger = logging.getLogger("realtime.rooms")

#: Messages handed to members before the event loop gets a turn: a few milliseconds.
SENDS_PER_TURN = 1000


class _Need(enum.Flag):
    """What has to be read from the database."""

    MESSAGES = enum.auto()
    PRESENCE = enum.auto()
    ACCESS = enum.auto()


class RoomFanout:
    """Passes on what happens in a room.

    Args:
        room: the room. When its counter of closings goes up, every member is expelled.
        reader: where database reads run.
    """

    def __init__(self, room: Room, reader: DatabaseThreads) -> None:
        self.room_id: int = room.pk
        self.slug = room.slug
        self._reader = reader
        self._closings = room.closings
        self._loop = asyncio.get_running_loop()
        self._members: dict[str, Member] = {}
        self._messages: ReorderBuffer[Entry] = ReorderBuffer(limits().held)
        self._presence = MemberList(self.room_id)
        self._outbox: collections.deque[tuple[int, Entry]] = collections.deque()
        #: Every message up to this number has been passed on.
        self._passed = 0
        self._acknowledgements: dict[int, list[Callable[[], None]]] = {}
        self._access_seen = self._access_needed = 0
        self._needs = _Need(0)
        self._mending: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._passing_later: asyncio.Handle | None = None

    # Members

    @property
    def members(self) -> list[Member]:
        """Everybody whom this process has in the room."""
        return list(self._members.values())

    @property
    def names(self) -> list[str]:
        """Names of the people in the room, in every process, each once."""
        return self._presence.names

    def enter(self, member: Member) -> None:
        """Begin to hold for a member what happens from now on."""
        self._members[member.connection] = member
        if self._messages.last is not None:
            member.covered_from = self._passed
        if len(self._members) == 1:
            self._access_seen = member.access_version
        newest = max(member.access_version, self._access_seen)
        self._access_seen = min(member.access_version, self._access_seen)
        self._require_access(newest)

    def begin(self, seq: int) -> None:
        """Begin after message ``seq``, unless the fan-out runs already."""
        if self._messages.last is not None:
            return
        self._messages.start(seq)
        self._passed = seq
        for member in self._members.values():
            member.covered_from = seq
        self._advance()

    async def load_presence(self) -> None:
        """Read who is in the room, unless that is known."""
        if not self._presence.is_known:
            await self._read_presence()

    async def settle(self, member: Member, position: int) -> None:
        """Make a member live whose ``Joined`` has been sent.

        Args:
            member: the member.
            position: everything up to this number was in its ``Joined``.
        """
        member.position = position
        while member.covered_from is not None and member.position < member.covered_from:
            tail = await self._reader.run(read_between, self.room_id, self.slug, member.position, member.covered_from)
            if not self._has(member):
                return  # expelled while reading
            for entry in tail.entries.values():
                if entry.connection != member.connection:
                    member.send(SharedMessage(text=entry.text))
            member.position = tail.upto
        if self._has(member):
            member.release()
            self._make_live(member)

    def leave(self, member: Member) -> None:
        """Stop passing anything to a member."""
        if self._has(member):
            del self._members[member.connection]

    def close(self) -> None:
        """Stop for good. What waits for an acknowledgement is acknowledged."""
        for timer in (self._timer, self._passing_later):
            if timer is not None:
                timer.cancel()
        if self._mending is not None:
            self._mending.cancel()
        waiting, self._acknowledgements = self._acknowledgements, {}
        for seq in sorted(waiting):
            for acknowledge in waiting[seq]:
                acknowledge()

    # News

    def offer(self, entries: Iterable[Entry], access_version: int) -> None:
        """Take messages that were stored; in any order, repeated or not."""
        for entry in entries:
            self._messages.offer(entry.seq, entry)
        self._require_access(access_version)
        self._advance()

    def offer_transition(self, transition: Transition) -> None:
        """Take the news that a user has come or gone; in any order, repeated or not."""
        self._tell(self._presence.offer(transition))
        self._watch_for_gaps()

    def pass_notice(self, text: str) -> None:
        """Pass an encoded message without a number to every member."""
        shared = SharedMessage(text=text)
        for member in self._members.values():
            member.notify(shared)

    def recheck(self) -> None:
        """Read settings and memberships again, and expel members who may not be here."""
        self._need(_Need.ACCESS)

    def compare(self, room: Room | None) -> None:
        """Compare with the room's counters, and read what was missed. None: the room is gone."""
        if room is None:
            self._expel_everybody()
            return
        self._messages.expect(room.last_seq)
        self._presence.expect(room.presence_version)
        self._require_access(room.access_version)
        if room.closings > self._closings:
            self._need(_Need.ACCESS)
        self._watch_for_gaps()

    def acknowledge(self, seq: int, acknowledge: Callable[[], None]) -> None:
        """Call ``acknowledge`` when every message up to ``seq`` has been passed on.

        So a client that has seen a number has seen everything before it, and can resume from there.
        """
        if seq <= self._passed:
            acknowledge()
        else:
            self._acknowledgements.setdefault(seq, []).append(acknowledge)

    # Passing on

    def _advance(self) -> None:
        if self._access_seen >= self._access_needed:
            self._outbox.extend(self._messages.take())
            self._pass_on()
        self._watch_for_gaps()

    def _pass_on(self) -> None:
        if self._passing_later is not None:
            return
        sends = 0
        while self._outbox:
            seq, entry = self._outbox.popleft()
            shared = SharedMessage(text=entry.text)
            for member in self._members.values():
                if not member.is_live:
                    member.hold(entry, shared)
                elif member.connection != entry.connection:
                    member.send(shared)
            self._has_passed(seq)
            sends += 1 + len(self._members)
            if self._outbox and sends > SENDS_PER_TURN:
                self._passing_later = self._loop.call_soon(self._pass_on_later)
                return
        if self._messages.last is not None:
            self._has_passed(self._messages.last)

    def _pass_on_later(self) -> None:
        self._passing_later = None
        self._pass_on()

    def _has_passed(self, seq: int) -> None:
        self._passed = seq
        if not self._acknowledgements:
            return
        for number in sorted(number for number in self._acknowledgements if number <= seq):
            for acknowledge in self._acknowledgements.pop(number):
                acknowledge()

    def _has(self, member: Member) -> bool:
        return self._members.get(member.connection) is member

    def _make_live(self, member: Member) -> None:
        """Make a member live, now or when the fan-out has caught up with what the member has."""
        if not self._has(member):
            return
        if self._passed < member.position:
            self.acknowledge(member.position, lambda: self._make_live(member))
            return
        member.release()
        member.is_live = True

    def _tell(self, transitions: Iterable[Transition]) -> None:
        """Tell everybody else who has come and gone."""
        for transition in transitions:
            event = Presence(room=self.slug, user=transition.name, state=transition.state)
            shared = SharedMessage(text=encode(event))
            for member in self._members.values():
                if member.person.key != transition.key:
                    member.notify(shared)

    # Mending

    def _watch_for_gaps(self) -> None:
        if self._timer is None and (self._messages.is_behind or self._presence.is_behind):
            self._timer = self._loop.call_later(limits().grace, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._needs:
            self._need(self._needs)
        if self._messages.is_behind:
            self._need(_Need.MESSAGES)
        if self._presence.is_behind:
            self._need(_Need.PRESENCE)

    def _require_access(self, version: int) -> None:
        """Pass on nothing until memberships were read that are at least as new as ``version``."""
        self._access_needed = max(self._access_needed, version)
        if self._access_seen < self._access_needed:
            self._need(_Need.ACCESS)

    def _need(self, need: _Need) -> None:
        self._needs |= need
        if self._mending is None:
            self._mending = self._loop.create_task(self._mend(), context=contextvars.Context())

    async def _mend(self) -> None:
        needs = _Need(0)
        try:
            while self._needs:
                needs, self._needs = self._needs, _Need(0)
                if _Need.MESSAGES in needs:
                    await self._read_messages()
                if _Need.ACCESS in needs:
                    await self._read_access()
                if _Need.PRESENCE in needs:
                    await self._read_presence()
        except Room.DoesNotExist:
            self._expel_everybody()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("room %s cannot be read, its members wait: %s", self.slug, error)
            self._retry_later(needs)
        finally:
            self._mending = None

    def _retry_later(self, needs: _Need) -> None:
        self._needs |= needs
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(limits().tail_check, self._look)

    async def _read_messages(self) -> None:
        """Read what is missing. Memberships are read after it: they are then at least as new as each message."""
        if self._messages.last is None:
            return
        tail = await self._reader.run(read_tail, self.room_id, self.slug, self._messages.last)
        await self._read_access()
        self._outbox.extend(self._messages.fill(tail.entries, tail.upto))
        self._messages.expect(tail.last_seq)
        self._pass_on()
        if self._messages.is_behind:
            self._needs |= _Need.MESSAGES

    async def _read_access(self) -> None:
        members = self.members
        users = {member.person.user_id for member in members}
        room, roles = await self._reader.run(read_access, self.room_id, [user for user in users if user is not None])
        if room.closings > self._closings:
            self._closings = room.closings
            self._expel_everybody()
        for member in members:
            self._check(member, room, roles)
        self._access_needed = max(self._access_needed, room.access_version)
        # A member who has come meanwhile may have been admitted before the change.
        self._access_seen = min([room.access_version, *(member.access_version for member in self.members)])
        if self._access_seen < self._access_needed:
            self._needs |= _Need.ACCESS
        self._advance()

    def _check(self, member: Member, room: Room, roles: dict[int, str]) -> None:
        user_id = member.person.user_id
        if member.access_version > room.access_version:
            return  # admitted after the room was read
        standing = standing_from(member.person.user, roles.get(user_id) if user_id is not None else None)
        was_removed = standing is Standing.OUTSIDER and member.standing is not Standing.OUTSIDER
        if was_removed or decide(standing, room, Action.READ) is not None:
            self._expel(member)
        member.renew(standing, room.access_version)

    async def _read_presence(self) -> None:
        self._tell(self._presence.correct(*await self._reader.run(read_presence, self.room_id)))

    def _expel(self, member: Member) -> None:
        self.leave(member)
        member.expel()

    def _expel_everybody(self) -> None:
        for member in self.members:
            self._expel(member)
