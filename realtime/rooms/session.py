"""What one connection does in rooms: a method for each message of the protocol.

A session knows neither Channels nor the wire: it speaks to a ``Link``, which the consumer is.
"""

from __future__ import annotations

import asyncio
import datetime
import functools
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from django.db import DatabaseError, InterfaceError
from redis.exceptions import RedisError

from realtime.engine import HandshakeRejected, InvalidMessage, Message, MessageRate, SharedMessage, TokenRejected
from realtime.engine.auth.authentication import VerifiedToken, verify_access_token
from realtime.rooms import protocol
from realtime.rooms.fanout.events import members_group
from realtime.rooms.fanout.hub import Hub
from realtime.rooms.fanout.members import Member
from realtime.rooms.fanout.room import RoomFanout
from realtime.rooms.limits import limits
from realtime.rooms.models import Room
from realtime.rooms.permissions import Action, AnyUser, Person, Refusal, decide, unknown_room
from realtime.rooms.protocol import ErrorCode, Position
from realtime.rooms.services import Admission, admit
from realtime.rooms.store.messages import NOT_STORED_YET, Outcome, Stored, Write, check_content
from realtime.rooms.store.selectors import read_before, read_snapshot

__all__ = ["Link", "Session"]

logger = logging.getLogger("realtime.rooms")


class Link(Protocol):
    """A connection; ``PolicyConsumer`` is one."""

    async def send_message(self, message: Message) -> None: ...

    def send_nowait(self, message: SharedMessage) -> None: ...

    async def join(self, group: str) -> None: ...

    async def leave(self, group: str) -> None: ...

    def expire_at(self, when: float | None) -> None: ...


class Refused(Exception):
    """A message of the client has no effect; the client is told why."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(slots=True)
class _Seat:
    """The connection's place in one room."""

    admission: Admission
    member: Member
    fanout: RoomFanout


class Session:
    """The rooms of one connection.

    Args:
        link: the connection.
        hub: what the rooms of this process share.
        user: the user of the connection, or ``AnonymousUser``.
        address: the client's, as limits count it.
        identified: called when ``Authenticate`` has brought a user, with the user and the generation of the token.
    """

    def __init__(
        self,
        link: Link,
        hub: Hub,
        user: AnyUser,
        *,
        address: str,
        identified: Callable[[AnyUser, int], Awaitable[None]],
    ) -> None:
        self.connection = uuid.uuid4().hex
        self._address = address
        self._link = link
        self._hub = hub
        self._person = Person.of(user, self.connection)
        self._identified = identified
        self._seats: dict[str, _Seat] = {}
        self._pending = asyncio.Semaphore(limits().pending_writes)
        #: By the nonce of a message that waits for the database: when its author gets an error.
        self._timers: dict[str, asyncio.TimerHandle] = {}
        #: Messages that wait for the database, and whose author has got an error.
        self._late: set[str] = set()
        self._rate = MessageRate(limits().messages_per_second, time.monotonic(), burst=limits().burst)

    async def receive(self, text: str) -> None:
        """Do what one message of the client says; whatever is wrong with it is answered with an ``Error``."""
        if not self._rate.allows(time.monotonic()):
            detail = f"More than {limits().messages_per_second:g} messages per second; this one had no effect."
            await self._send(protocol.Error(code="rate_limited", detail=detail, ref=protocol.read_ref(text)))
            return
        try:
            command = protocol.decode(text)
        except InvalidMessage as error:
            await self._send(protocol.Error(code="invalid_message", detail=error.detail, ref=error.ref))
            return
        await self._answer(self._perform(command), command.ref)

    async def join_at_once(self, slug: str) -> None:
        """Enter the room that the address names; a refusal is an ``Error``, as it is for ``Join``."""
        await self._answer(self.join(slug), None)

    async def join(self, slug: str, since: Position | None = None) -> None:
        """Enter a room.

        Args:
            slug: the room's name.
            since: how far the client has read there.

        Raises:
            Refused: if the user may not.
        """
        if slug not in self._seats and len(self._seats) >= limits().rooms_per_connection:
            raise Refused("forbidden", f"One connection may be in {limits().rooms_per_connection} rooms.")
        admission = _admitted(await self._admit(slug))
        former = self._seats.get(slug)
        if former is not None:
            former.fanout.leave(former.member)
        seat = await self._take_seat(admission)
        try:
            await self._welcome(seat, since)
        except BaseException:
            await self._give_up(seat)
            raise

    async def access_changed(self, user: AnyUser) -> None:
        """Take over a user who may have other rights now, and leave the rooms that are not for them any more."""
        self._person = Person.of(user, self.connection)
        for seat in list(self._seats.values()):
            admission = await self._admit_again(seat)
            if admission is not None:
                self._renew(seat, admission)

    async def close(self) -> None:
        """Leave every room; the connection has ended, and is in no group any more."""
        for timer in self._timers.values():
            timer.cancel()
        seats, self._seats = self._seats, {}
        for seat in seats.values():
            seat.fanout.leave(seat.member)
        for seat in seats.values():
            await self._hub.leave(seat.fanout, seat.member)
            await self._hub.depart(seat.admission.room_id, seat.member)

    async def _answer(self, work: Awaitable[None], ref: str | None) -> None:
        """Turn what goes wrong into an ``Error``, in this one place."""
        try:
            await work
        except Refused as refused:
            error = protocol.Error(code=refused.code, detail=refused.detail, ref=ref)
        except (DatabaseError, InterfaceError, RedisError, OSError):
            logger.exception("a message of a client could not be handled")
            error = protocol.Error(code="internal", detail="The server could not do that. Try again later.", ref=ref)
        else:
            return
        await self._send(error)

    def _perform(self, command: protocol.ClientMessage) -> Awaitable[None]:
        match command:
            case protocol.Post():
                return self._chat(command)
            case protocol.Join():
                return self.join(command.room, command.since)
            case protocol.Leave():
                return self._leave_room(command)
            case protocol.History():
                return self._history(command)
            case protocol.Authenticate():
                return self._authenticate(command)
            case protocol.Ping():
                return self._send(protocol.Pong())

    # Join

    async def _admit(self, slug: str) -> Admission | Refusal:
        return await self._hub.reader.run(admit, self._person.user, slug, self._address)

    async def _take_seat(self, admission: Admission) -> _Seat:
        slug = admission.slug
        member = Member(
            self.connection,
            self._person,
            admission.standing,
            admission.access_version,
            admission.facts,
            send=self._link.send_nowait,
            expel=functools.partial(self._expelled, slug),
            capacity=limits().held,
        )
        fanout = await self._hub.enter(admission.room_id, slug, admission.closings, member)
        seat = self._seats[slug] = _Seat(admission, member, fanout)
        return seat

    async def _welcome(self, seat: _Seat, since: Position | None) -> None:
        admission, member, fanout = seat.admission, seat.member, seat.fanout
        await self._link.join(members_group(admission.slug))
        await self._hub.attend(admission.room_id, member)
        try:
            await fanout.load_presence()
            snapshot = await self._hub.reader.run(read_snapshot, admission.room_id, since)
            while snapshot.access_version > member.access_version:
                # Something has changed since this person was admitted: what was said after it may not be for them.
                member.renew(*_admitted(await self._admit(admission.slug)).access)
                snapshot = await self._hub.reader.run(read_snapshot, admission.room_id, since)
        except Room.DoesNotExist:
            raise _refused(unknown_room(admission.slug)) from None
        if self._seats.get(admission.slug) is not seat:
            return  # put out while joining; the client has been told
        fanout.begin(snapshot.seq)
        joined = protocol.Joined(
            room=admission.slug,
            epoch=admission.epoch,
            seq=snapshot.seq,
            members=sorted({*fanout.names, self._person.name}),
            recovered=snapshot.recovered,
            messages=snapshot.messages,
        )
        member.is_announced = True
        await self._send(joined)
        await fanout.settle(member, snapshot.seq)

    async def _give_up(self, seat: _Seat) -> None:
        if self._seats.get(seat.admission.slug) is seat:
            del self._seats[seat.admission.slug]
            await self._depart(seat)

    # Leave

    async def _leave_room(self, command: protocol.Leave) -> None:
        await self._leave(self._seat(command.room))

    async def _leave(self, seat: _Seat) -> None:
        del self._seats[seat.admission.slug]
        seat.fanout.leave(seat.member)
        await self._depart(seat)
        await self._send(protocol.Left(room=seat.admission.slug))

    async def _depart(self, seat: _Seat) -> None:
        await self._hub.leave(seat.fanout, seat.member)
        await self._link.leave(members_group(seat.admission.slug))
        await self._hub.depart(seat.admission.room_id, seat.member)

    def _expelled(self, slug: str) -> None:
        """The fanout has put this connection out of a room."""
        seat = self._seats.pop(slug, None)
        if seat is None:
            return
        self._link.send_nowait(SharedMessage(text=protocol.encode(protocol.Left(room=slug))))
        self._hub.spawn(self._depart(seat))

    # Chat

    async def _chat(self, command: protocol.Post) -> None:
        seat = self._seat(command.room)
        member = seat.member
        problem = check_content(command.content) or decide(member.standing, member.facts, Action.POST)
        if problem is not None:
            raise _refused(problem)
        write = Write(
            room_id=seat.admission.room_id,
            slug=seat.admission.slug,
            person=self._person,
            content=command.content,
            ref=command.ref,
            connection=self.connection,
            standing=member.standing,
            access_version=member.access_version,
        )
        try:
            # While the earlier ones are late, there is nothing to wait for.
            async with asyncio.timeout(0 if self._late else limits().write_timeout):
                await self._pending.acquire()
                try:
                    await self._hub.write(write, functools.partial(self._written, write))
                except BaseException:
                    self._pending.release()
                    raise
        except TimeoutError:
            raise _refused(NOT_STORED_YET) from None
        loop = asyncio.get_running_loop()
        self._timers[write.nonce] = loop.call_later(limits().write_timeout, self._report_late, write)

    def _report_late(self, write: Write) -> None:
        """Answer a message that is not stored in time. Sent again, it gets the Ack of what was stored meanwhile."""
        del self._timers[write.nonce]
        self._late.add(write.nonce)
        self._send_outcome(write, NOT_STORED_YET)

    def _written(self, write: Write, outcome: Outcome) -> None:
        self._pending.release()
        timer = self._timers.pop(write.nonce, None)
        if timer is None:  # each message has one answer
            self._late.discard(write.nonce)
            return
        timer.cancel()
        self._send_outcome(write, outcome)

    def _send_outcome(self, write: Write, outcome: Outcome) -> None:
        answer: protocol.Event
        if isinstance(outcome, Stored):
            answer = protocol.Ack(ref=write.ref, room=write.slug, seq=outcome.seq, at=outcome.at)
        else:
            answer = protocol.Error(code=outcome.code, detail=outcome.detail, ref=write.ref)
        self._link.send_nowait(SharedMessage(text=protocol.encode(answer)))

    # The rest

    async def _history(self, command: protocol.History) -> None:
        admission = self._seat(command.room).admission
        messages = await self._hub.reader.run(
            read_before, admission.room_id, admission.slug, command.before, command.limit
        )
        await self._send(protocol.Page(room=admission.slug, messages=messages))

    async def _authenticate(self, command: protocol.Authenticate) -> None:
        try:
            verified = await verify_access_token(command.token)
        except TokenRejected as rejection:
            raise Refused("unauthorized", rejection.detail) from None
        if self._person.user_id not in (None, verified.user.pk):
            raise Refused("unauthorized", "The token belongs to another user; open a connection of its own.")
        was_visitor = self._person.user_id is None
        if was_visitor:
            await self._identify(verified)
        self._link.expire_at(verified.expires_at)
        self._person = Person.of(verified.user, self.connection)
        expires_at = datetime.datetime.fromtimestamp(verified.expires_at, datetime.UTC)
        await self._send(protocol.Authenticated(user=self._person.name, expires_at=expires_at))
        if was_visitor:
            await self._become_user()

    async def _identify(self, verified: VerifiedToken) -> None:
        try:
            await self._identified(verified.user, verified.generation)
        except HandshakeRejected as rejection:
            raise Refused("rate_limited", rejection.detail) from None

    async def _become_user(self) -> None:
        """Turn a visitor into a user, in every room: others see the visitor go and the user come."""
        for seat in list(self._seats.values()):
            admission = await self._admit_again(seat)
            if admission is not None:
                await self._hub.depart(admission.room_id, seat.member)
                self._renew(seat, admission)
                await self._hub.attend(admission.room_id, seat.member)

    async def _admit_again(self, seat: _Seat) -> Admission | None:
        """Let the person into a room anew; where that is refused, leave it, and say so."""
        slug = seat.admission.slug
        admission = await self._admit(slug)
        if self._seats.get(slug) is not seat:
            return None
        if isinstance(admission, Refusal):
            await self._leave(seat)
            return None
        return admission

    def _renew(self, seat: _Seat, admission: Admission) -> None:
        seat.member.person = self._person
        seat.member.renew(*admission.access)

    def _seat(self, slug: str | None) -> _Seat:
        if slug is None and len(self._seats) > 1:
            raise Refused("invalid_message", f"room: needed, you are in {', '.join(sorted(self._seats))}.")
        seat = next(iter(self._seats.values()), None) if slug is None else self._seats.get(slug)
        if seat is None:
            raise Refused("not_joined", "Join a room first." if slug is None else f"You are not in {slug[:80]!r}.")
        return seat

    async def _send(self, event: protocol.Event) -> None:
        await self._link.send_message(Message.text(protocol.encode(event)))


def _admitted(admission: Admission | Refusal) -> Admission:
    if isinstance(admission, Refusal):
        raise _refused(admission)
    return admission


def _refused(refusal: Refusal) -> Refused:
    return Refused(refusal.code, refusal.detail)
