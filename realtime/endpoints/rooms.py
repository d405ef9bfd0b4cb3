"""``/ws/rooms`` and ``/ws/rooms/<room>``: rooms in tagged JSON; realtime/rooms/protocol.py has the messages."""

from __future__ import annotations

import asyncio
import datetime
import functools
import logging
import time
import uuid
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, InterfaceError
from redis.exceptions import RedisError

from realtime.engine import (
    KIB,
    MIB,
    CloseCode,
    HandshakeRejected,
    InvalidMessage,
    Message,
    MessageRate,
    PolicyConsumer,
    SharedMessage,
    SocketPolicy,
    TokenRejected,
    verify_access_token,
)
from realtime.rooms import protocol
from realtime.rooms.fanout.events import members_group
from realtime.rooms.fanout.hub import Hub, current_hub
from realtime.rooms.fanout.members import Member
from realtime.rooms.fanout.room import RoomFanout
from realtime.rooms.limits import limits
from realtime.rooms.models import Room
from realtime.rooms.permissions import Person, Refusal, Standing, unknown_room
from realtime.rooms.protocol import Position
from realtime.rooms.services import admit
from realtime.rooms.store.message_store import NOT_STORED_YET, Outcome, Stored, Write, check_content
from realtime.rooms.store.selectors import read_before, read_snapshot

__all__ = ["RoomsConsumer"]

logger = logging.getLogger("realtime.rooms")


class Refused(Exception):
    """A client's message has no effect; the client gets the reason as an ``Error``."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


@dataclass(slots=True)
class _Seat:
    """The connection's place in one room."""

    member: Member
    fanout: RoomFanout


class RoomsConsumer(PolicyConsumer):
    """Lets a client join rooms, talk there, and come back without missing anything."""

    policy = SocketPolicy(
        # Far more than any message may hold: what is too long or nested too deeply is answered, not cut off.
        max_message_size=2 * MIB,
        max_frame_size=2 * MIB,
        write_buffer_size=64 * KIB,
        # A reader that is a thousand long messages behind comes back with "since" and reads the rest from the database.
        max_write_buffer_size=4 * MIB,
        ping_interval=30,
        ping_timeout=20,
    )
    authentication = "optional"
    client_messages = protocol.ClientMessage
    server_messages = protocol.ServerMessage

    _hub: Hub

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connection = uuid.uuid4().hex
        self._person = Person.of(self.user, self._connection)
        self._seats: dict[str, _Seat] = {}
        self._pending = asyncio.Semaphore(limits().pending_writes)
        #: By the nonce of a message that waits for the database: when its author gets an error.
        self._timers: dict[str, asyncio.TimerHandle] = {}
        #: Messages that wait for the database, and whose author has got an error.
        self._late: set[str] = set()
        self._commands = MessageRate(limits().messages_per_second, time.monotonic(), burst=limits().burst)

    async def connect(self) -> None:
        """Accept, and join the room that the address names."""
        self._hub = current_hub()
        self._person = Person.of(self.user, self._connection)
        await self.accept()
        room = self.scope["url_route"]["kwargs"].get("room")
        if room is not None:
            await self._perform(protocol.Join(room=room))

    async def receive_message(self, message: Message) -> None:
        """Perform a JSON message; whatever is wrong with it is answered with an ``Error``."""
        if message.is_binary:
            await self.close(CloseCode.UNSUPPORTED_DATA, "binary message on a JSON endpoint")
            return
        text = message.as_str()
        if not self._commands.allows(time.monotonic()):
            detail = f"More than {limits().messages_per_second:g} messages per second; this one had no effect."
            await self._send(protocol.Error(code="rate_limited", detail=detail, ref=protocol.read_ref(text)))
            return
        try:
            command = protocol.decode(text)
        except InvalidMessage as error:
            await self._send(protocol.Error(code="invalid_message", detail=error.detail, ref=error.ref))
            return
        await self._perform(command)

    async def access_changed(self) -> None:
        """Leave the rooms that the user may no longer be in."""
        self._person = Person.of(self.user, self._connection)
        for seat in list(self._seats.values()):
            await self._admit_again(seat)

    async def disconnect(self, code: int) -> None:
        """Leave every room; the connection is in no group any more."""
        for timer in self._timers.values():
            timer.cancel()
        seats, self._seats = self._seats, {}
        for seat in seats.values():
            seat.fanout.leave(seat.member)
        for seat in seats.values():
            await self._hub.leave(seat.fanout, seat.member)
            await self._hub.depart(seat.fanout.room_id, seat.member)

    async def _perform(self, command: protocol.ClientMessage) -> None:
        """Do what a message says. This is the one place where a failure becomes an ``Error``."""
        try:
            match command:
                case protocol.Post():
                    await self._chat(command)
                case protocol.Join():
                    await self._join_room(command.room, command.since)
                case protocol.Leave():
                    await self._leave_room(self._seat(command.room))
                case protocol.History():
                    await self._history(command)
                case protocol.Authenticate():
                    await self._authenticate(command.token)
                case protocol.Ping():
                    await self._send(protocol.Pong())
        except Refused as refused:
            refusal = refused.refusal
        except (DatabaseError, InterfaceError, RedisError, OSError):
            logger.exception("a message of a client could not be handled")
            refusal = Refusal("internal", "The server could not do that. Try again later.")
        else:
            return
        await self._send(protocol.Error(code=refusal.code, detail=refusal.detail, ref=command.ref))

    # Join

    async def _join_room(self, slug: str, since: Position | None) -> None:
        if slug not in self._seats and len(self._seats) >= limits().rooms_per_connection:
            detail = f"One connection may be in {limits().rooms_per_connection} rooms."
            raise Refused(Refusal("forbidden", detail))
        room, standing = await self._admitted(slug)
        former = self._seats.get(slug)
        if former is not None:
            former.fanout.leave(former.member)
        seat = await self._take_seat(room, standing)
        try:
            await self._welcome(seat, since)
        except BaseException:
            if self._seats.get(slug) is seat:
                del self._seats[slug]
                await self._depart(seat)
            raise

    async def _admitted(self, slug: str) -> tuple[Room, Standing]:
        admitted = await self._hub.reader.run(admit, self._person.user, slug, self.client_network)
        if isinstance(admitted, Refusal):
            raise Refused(admitted)
        return admitted

    async def _take_seat(self, room: Room, standing: Standing) -> _Seat:
        member = Member(
            self._connection,
            self._person,
            standing,
            room.access_version,
            send=self.send_nowait,
            expel=functools.partial(self._expelled, room.slug),
            capacity=limits().held,
        )
        fanout = await self._hub.enter(room, member)
        seat = self._seats[room.slug] = _Seat(member, fanout)
        return seat

    async def _welcome(self, seat: _Seat, since: Position | None) -> None:
        member, fanout = seat.member, seat.fanout
        await self.join(members_group(fanout.slug))
        await self._hub.attend(fanout.room_id, member)
        try:
            await fanout.load_presence()
            snapshot = await self._hub.reader.run(read_snapshot, fanout.room_id, since)
            while snapshot.room.access_version > member.access_version:
                # Something has changed since this person was admitted: what was said after it may not be for them.
                room, standing = await self._admitted(fanout.slug)
                member.renew(standing, room.access_version)
                snapshot = await self._hub.reader.run(read_snapshot, fanout.room_id, since)
        except Room.DoesNotExist:
            raise Refused(unknown_room(fanout.slug)) from None
        if self._seats.get(fanout.slug) is not seat:
            return  # expelled while joining; the client has got its Left
        seq = snapshot.room.last_seq
        fanout.begin(seq)
        joined = protocol.Joined(
            room=fanout.slug,
            epoch=str(snapshot.room.epoch),
            seq=seq,
            members=sorted({*fanout.names, self._person.name}),
            recovered=snapshot.recovered,
            messages=snapshot.messages,
        )
        member.is_announced = True
        await self._send(joined)
        await fanout.settle(member, seq)

    # Leave

    async def _leave_room(self, seat: _Seat) -> None:
        del self._seats[seat.fanout.slug]
        seat.fanout.leave(seat.member)
        await self._depart(seat)
        await self._send(protocol.Left(room=seat.fanout.slug))

    async def _depart(self, seat: _Seat) -> None:
        await self._hub.leave(seat.fanout, seat.member)
        await self.leave(members_group(seat.fanout.slug))
        await self._hub.depart(seat.fanout.room_id, seat.member)

    def _expelled(self, slug: str) -> None:
        """The fan-out has removed this connection from a room."""
        seat = self._seats.pop(slug, None)
        if seat is not None:
            self._queue(protocol.Left(room=slug))
            self._hub.spawn(self._depart(seat))

    # Chat

    async def _chat(self, command: protocol.Post) -> None:
        seat = self._seat(command.room)
        member = seat.member
        problem = check_content(command.content)
        if problem is not None:
            raise Refused(problem)
        write = Write(
            room_id=seat.fanout.room_id,
            slug=seat.fanout.slug,
            person=self._person,
            content=command.content,
            ref=command.ref,
            connection=self._connection,
            standing=member.standing,
            access_version=member.access_version,
        )
        try:
            # While earlier messages are late, another one does not wait.
            async with asyncio.timeout(0 if self._late else limits().write_timeout):
                await self._pending.acquire()
                try:
                    await self._hub.write(write, functools.partial(self._written, write))
                except BaseException:
                    self._pending.release()
                    raise
        except TimeoutError:
            raise Refused(NOT_STORED_YET) from None
        loop = asyncio.get_running_loop()
        self._timers[write.nonce] = loop.call_later(limits().write_timeout, self._report_late, write)

    def _report_late(self, write: Write) -> None:
        """Answer a message that is not stored in time. Sent again, it gets the Ack of what was stored meanwhile."""
        del self._timers[write.nonce]
        self._late.add(write.nonce)
        self._answer(write, NOT_STORED_YET)

    def _written(self, write: Write, outcome: Outcome) -> None:
        self._pending.release()
        timer = self._timers.pop(write.nonce, None)
        if timer is None:  # each message has one answer
            self._late.discard(write.nonce)
            return
        timer.cancel()
        self._answer(write, outcome)

    def _answer(self, write: Write, outcome: Outcome) -> None:
        if isinstance(outcome, Stored):
            self._queue(protocol.Ack(ref=write.ref, room=write.slug, seq=outcome.seq, at=outcome.at))
        else:
            self._queue(protocol.Error(code=outcome.code, detail=outcome.detail, ref=write.ref))

    # History, Authenticate

    async def _history(self, command: protocol.History) -> None:
        room = self._seat(command.room).fanout
        messages = await self._hub.reader.run(read_before, room.room_id, room.slug, command.before, command.limit)
        await self._send(protocol.Page(room=room.slug, messages=messages))

    async def _authenticate(self, token: str) -> None:
        try:
            verified = await verify_access_token(token)
        except TokenRejected as rejection:
            raise Refused(Refusal("unauthorized", rejection.detail)) from None
        if self._person.user_id not in (None, verified.user.pk):
            detail = "The token belongs to another user; open a connection of its own."
            raise Refused(Refusal("unauthorized", detail))
        was_anonymous = self._person.user_id is None
        if was_anonymous:
            try:
                await self.sign_in(verified.user, verified.generation)
            except HandshakeRejected as rejection:
                raise Refused(Refusal("rate_limited", rejection.detail)) from None
        self.expire_at(verified.expires_at)
        self._person = Person.of(verified.user, self._connection)
        expires_at = datetime.datetime.fromtimestamp(verified.expires_at, datetime.UTC)
        await self._send(protocol.Authenticated(user=self._person.name, expires_at=expires_at))
        if was_anonymous:
            for seat in list(self._seats.values()):
                await self._admit_again(seat)

    async def _admit_again(self, seat: _Seat) -> None:
        """Read what the person may do in a room, and leave it if they may not be there any more.

        Where an anonymous user has signed in, the others see the anonymous one go and the user come.
        """
        member, fanout = seat.member, seat.fanout
        admitted: tuple[Room, Standing] | None
        try:
            admitted = await self._admitted(fanout.slug)
        except Refused:
            admitted = None
        if self._seats.get(fanout.slug) is not seat:
            return
        if admitted is None:
            await self._leave_room(seat)
            return
        is_another = member.person.key != self._person.key
        if is_another:
            await self._hub.depart(fanout.room_id, member)
        member.person = self._person
        room, standing = admitted
        member.renew(standing, room.access_version)
        if is_another:
            await self._hub.attend(fanout.room_id, member)

    def _seat(self, slug: str | None) -> _Seat:
        if slug is None and len(self._seats) > 1:
            detail = f"room: needed, you are in {', '.join(sorted(self._seats))}."
            raise Refused(Refusal("invalid_message", detail))
        seat = next(iter(self._seats.values()), None) if slug is None else self._seats.get(slug)
        if seat is None:
            detail = "Join a room first." if slug is None else f"You are not in {slug[:80]!r}."
            raise Refused(Refusal("not_joined", detail))
        return seat

    async def _send(self, event: protocol.Event) -> None:
        await self.send_message(Message.text(protocol.encode(event)))

    def _queue(self, event: protocol.Event) -> None:
        """Send an event from code that cannot wait."""
        self.send_nowait(SharedMessage(text=protocol.encode(event)))
