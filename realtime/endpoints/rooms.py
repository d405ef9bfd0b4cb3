"""``/ws/rooms`` and ``/ws/rooms/<room>``: rooms in tagged JSON; realtime/rooms/protocol.py has the messages."""

from __future__ import annotations

import asyncio
import datetime
import functools
import logging
import time
import uuid
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
    anonymous_identity,
    verify_access_token,
)
from realtime.engine.topics.events import members_group
from realtime.engine.topics.fanout import Member
from realtime.engine.topics.hub import Hub, current_hub
from realtime.rooms import protocol
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
    _person: Person

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connection = uuid.uuid4().hex
        #: Who an anonymous user is: a browser by its cookie, another client for as long as it is connected.
        self._anonymous = self._connection
        #: The connection in each of its rooms, by the room's name.
        self._members: dict[str, Member] = {}
        self._pending = asyncio.Semaphore(limits().pending_writes)
        #: Nonces of messages that wait for the database, and whose author has got an error.
        self._late: set[str] = set()
        self._commands = MessageRate(limits().messages_per_second, time.monotonic(), burst=limits().burst)

    async def connect(self) -> None:
        """Accept, and join the room that the address names."""
        self._hub = current_hub()
        self._anonymous = anonymous_identity(self.scope) or self._connection
        self._person = Person.of(self.user, self._anonymous)
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
        self._person = Person.of(self.user, self._anonymous)
        await self._check_rooms()

    async def disconnect(self, code: int) -> None:
        """Leave every room; the connection is in no group any more."""
        members, self._members = self._members, {}
        await asyncio.gather(*(self._hub.leave(member) for member in members.values()))

    async def _perform(self, command: protocol.ClientMessage) -> None:
        """Do what a message says. This is the one place where a failure becomes an ``Error``."""
        try:
            match command:
                case protocol.Post():
                    await self._chat(command)
                case protocol.Join():
                    await self._join_room(command.room, command.since)
                case protocol.Leave():
                    await self._leave_room(self._member(command.room))
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

    # Join and leave

    async def _join_room(self, slug: str, since: Position | None) -> None:
        if slug not in self._members and len(self._members) >= limits().rooms_per_connection:
            detail = f"One connection may be in {limits().rooms_per_connection} rooms."
            raise Refused(Refusal("forbidden", detail))
        room, standing = await self._admitted(slug)
        member = Member(self._connection, self._person, standing, room.access_version, self.send_nowait, self._expelled)
        await self._hub.enter(room, member)
        former = self._members.get(slug)
        if former is not None:
            former.fanout.leave(former)
        self._members[slug] = member
        try:
            await self.join(members_group(slug))
            await self._hub.attend(member)
            await self._welcome(member, since)
        except BaseException:
            if self._is_in(member):
                del self._members[slug]
            raise
        finally:
            # One that was expelled meanwhile may have been put on the list of those present since.
            if not self._is_in(member):
                await self._depart(member)

    async def _admitted(self, slug: str) -> tuple[Room, Standing]:
        admitted = await self._hub.reader.run(admit, self._person.user, slug, self.client_network)
        if isinstance(admitted, Refusal):
            raise Refused(admitted)
        return admitted

    async def _welcome(self, member: Member, since: Position | None) -> None:
        try:
            snapshot = await self._hub.reader.run(read_snapshot, member.room.pk, since)
            while snapshot.room.access_version > member.access_version:
                # Something has changed since this person was admitted: what was said after it may not be for them.
                await self._admit_again(member)
                snapshot = await self._hub.reader.run(read_snapshot, member.room.pk, since)
            names = await member.fanout.names_for(member)
        except Room.DoesNotExist:
            raise Refused(unknown_room(member.room.slug)) from None
        if not self._is_in(member):
            return  # expelled while joining; the client has got its Left
        joined = protocol.Joined(
            room=member.room.slug,
            epoch=str(snapshot.room.epoch),
            seq=snapshot.room.last_seq,
            members=names,
            recovered=snapshot.recovered,
            messages=snapshot.messages,
        )
        await self._send(joined)
        await member.fanout.settle(member, joined.seq)

    async def _admit_again(self, member: Member) -> None:
        room, member.standing = await self._admitted(member.room.slug)
        member.access_version = room.access_version

    async def _leave_room(self, member: Member) -> None:
        del self._members[member.room.slug]
        await self._depart(member)
        await self._send(protocol.Left(room=member.room.slug))

    def _expelled(self, member: Member) -> None:
        """The fan-out has removed this connection from a room."""
        if self._is_in(member):
            del self._members[member.room.slug]
            self._queue(protocol.Left(room=member.room.slug))
            self._hub.spawn(self._depart(member))

    async def _depart(self, member: Member) -> None:
        await self._hub.leave(member)
        await self.leave(members_group(member.room.slug))

    def _is_in(self, member: Member) -> bool:
        return self._members.get(member.room.slug) is member

    # Chat

    async def _chat(self, command: protocol.Post) -> None:
        member = self._member(command.room)
        problem = check_content(command.content)
        if problem is not None:
            raise Refused(problem)
        room = member.room
        write = Write(
            room_id=room.pk,
            slug=room.slug,
            person=self._person,
            content=command.content,
            ref=command.ref,
            connection=self._connection,
            standing=member.standing,
            access_version=member.access_version,
        )
        loop = asyncio.get_running_loop()
        try:
            # While earlier messages are late, another one does not wait.
            async with asyncio.timeout(0 if self._late else limits().write_timeout):
                await self._pending.acquire()
                timer = loop.call_later(limits().write_timeout, self._report_late, write)
                try:
                    await self._hub.write(write, functools.partial(self._written, write, timer))
                except BaseException:
                    timer.cancel()
                    self._pending.release()
                    raise
        except TimeoutError:
            raise Refused(NOT_STORED_YET) from None

    def _report_late(self, write: Write) -> None:
        """Answer a message that is not stored in time. Sent again, it gets the Ack of what was stored meanwhile."""
        self._late.add(write.nonce)
        self._answer(write, NOT_STORED_YET)

    def _written(self, write: Write, timer: asyncio.TimerHandle, outcome: Outcome) -> None:
        self._pending.release()
        timer.cancel()
        if write.nonce in self._late:  # each message has one answer
            self._late.remove(write.nonce)
        else:
            self._answer(write, outcome)

    def _answer(self, write: Write, outcome: Outcome) -> None:
        if isinstance(outcome, Stored):
            self._queue(protocol.Ack(ref=write.ref, room=write.slug, seq=outcome.seq, at=outcome.at))
        else:
            self._queue(protocol.Error(code=outcome.code, detail=outcome.detail, ref=write.ref))

    # History, Authenticate

    async def _history(self, command: protocol.History) -> None:
        room = self._member(command.room).room
        messages = await self._hub.reader.run(read_before, room.pk, room.slug, command.before, command.limit)
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
        self._person = Person.of(verified.user, self._anonymous)
        assert verified.expires_at is not None  # every token has an expiry
        expires_at = datetime.datetime.fromtimestamp(verified.expires_at, datetime.UTC)
        await self._send(protocol.Authenticated(user=self._person.name, expires_at=expires_at))
        if was_anonymous:
            await self._check_rooms()

    async def _check_rooms(self) -> None:
        """Read what the person may do in each room, and leave those in which they may not be any more.

        Where an anonymous user has signed in, the others see the anonymous one go and the user come.
        """
        for member in list(self._members.values()):
            try:
                await self._admit_again(member)
            except Refused:
                if self._is_in(member):
                    await self._leave_room(member)
            else:
                if self._is_in(member):
                    await self._hub.change_person(member, self._person)

    def _member(self, slug: str | None) -> Member:
        if slug is None and len(self._members) > 1:
            detail = f"room: needed, you are in {', '.join(sorted(self._members))}."
            raise Refused(Refusal("invalid_message", detail))
        member = next(iter(self._members.values()), None) if slug is None else self._members.get(slug)
        if member is None:
            detail = "Join a room first." if slug is None else f"You are not in {slug[:80]!r}."
            raise Refused(Refusal("not_joined", detail))
        return member

    async def _send(self, event: protocol.Event) -> None:
        await self.send_message(Message.text(protocol.encode(event)))

    def _queue(self, event: protocol.Event) -> None:
        """Send an event from code that cannot wait."""
        self.send_nowait(SharedMessage(text=protocol.encode(event)))
