"""``/ws/rooms`` and ``/ws/rooms/<room>``: rooms in tagged JSON; realtime/rooms/protocol.py has the messages."""

from __future__ import annotations

import datetime
import functools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, InterfaceError
from prometheus_client import Gauge
from redis.exceptions import RedisError

from realtime.engine import (
    KIB,
    MIB,
    CloseCode,
    HandshakeRejected,
    InvalidMessage,
    Message,
    MessageRate,
    MessageRefused,
    Position,
    SharedMessage,
    SocketPolicy,
    TokenRejected,
    TopicConsumer,
    TopicGone,
    verify_access_token,
)
from realtime.engine.monitoring.metrics import REGISTRY
from realtime.engine.topics.consumer import Admission
from realtime.engine.topics.fanout import TopicFanout
from realtime.engine.topics.hub import active_fanouts, current_hub
from realtime.engine.topics.messages import raw
from realtime.engine.topics.presence import Transition
from realtime.engine.topics.store import Stored
from realtime.engine.topics.subscriber import Subscriber
from realtime.engine.topics.subscriptions import Subscription
from realtime.rooms import protocol
from realtime.rooms.limits import limits
from realtime.rooms.models import SLUG, Room, topic_of
from realtime.rooms.permissions import Action, Person, Refusal, Standing, decide, unknown_room
from realtime.rooms.services import admit
from realtime.rooms.store import ROOM_STORE, Outcome, Write, check_content, head_of, read_access

__all__ = ["RoomsConsumer"]

logger = logging.getLogger("realtime.rooms")

Gauge("rooms_active", "Rooms with members in this process.", registry=REGISTRY).set_function(
    lambda: len(active_fanouts(topic_of("")))
)
Gauge("rooms_members", "Connections of this process in rooms.", registry=REGISTRY).set_function(
    lambda: sum(len(fanout.subscribers) for fanout in active_fanouts(topic_of("")))
)


@dataclass(frozen=True, slots=True)
class Membership(Admission):
    """What a member was to its room when that was last read."""

    room: Room
    person: Person
    standing: Standing


class RoomsConsumer(TopicConsumer):
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
    replies = protocol.REPLIES

    topic_store = ROOM_STORE

    _person: Person

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._commands = MessageRate(limits().messages_per_second, time.monotonic(), burst=limits().burst)

    async def connect(self) -> None:
        """Accept, and join the room that the address names."""
        self._person = Person.of(self.user, self.anonymous_identity)
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
        self._person = Person.of(self.user, self.anonymous_identity)
        await self._check_rooms()

    async def _perform(self, command: protocol.ClientMessage) -> None:
        """Do what a message says. This is the one place where a failure becomes an ``Error``."""
        code: Any
        try:
            match command:
                case protocol.Post():
                    await self._chat(command)
                case protocol.Join():
                    await self._join_room(command.room, command.since)
                case protocol.Leave():
                    await self.topics.unsubscribe(self._member(command.room).fanout.name)
                case protocol.History():
                    await self._history(command)
                case protocol.Authenticate():
                    await self._authenticate(command.token)
                case protocol.Ping():
                    await self._send(protocol.Pong())
        except MessageRefused as refused:
            code, detail = refused.code, refused.detail
        except (DatabaseError, InterfaceError, RedisError, OSError):
            logger.exception("a message of a client could not be handled")
            code, detail = "internal", "The server could not do that. Try again later."
        else:
            return
        await self._send(protocol.Error(code=code, detail=detail, ref=command.ref))

    # Join and leave

    async def _join_room(self, slug: str, since: Position | None) -> None:
        topic = topic_of(slug)
        if topic not in self.topics and len(self.topics) >= limits().rooms_per_connection:
            raise MessageRefused("forbidden", f"One connection may be in {limits().rooms_per_connection} rooms.")
        if SLUG.fullmatch(slug) is None:
            raise _refused(unknown_room(slug))
        try:
            await self.topics.subscribe(topic, since=since, presence={"name": self._person.name})
        except TopicGone:
            raise _refused(unknown_room(slug)) from None

    @property
    def topic_key(self) -> str:
        return self._person.key

    async def open_topic(self, topic: str) -> Membership:
        """Let the person into a room, and return what they are to it."""
        person, slug = self._person, topic.removeprefix(topic_of(""))
        admitted = await current_hub().read(ROOM_STORE, admit, person.user, slug, self.client_network)
        if isinstance(admitted, Refusal):
            raise _refused(admitted)
        room, standing = admitted
        return Membership(head_of(room), room, person, standing)

    async def on_subscribed(self, subscription: Subscription) -> None:
        """Send ``Joined``."""
        joined = protocol.Joined(
            room=subscription.subscriber.grant.room.slug,
            epoch=subscription.head.epoch,
            seq=subscription.head.seq,
            members=sorted({user.metadata["name"] for user in subscription.present}),
            recovered=subscription.recovered,
            messages=raw(subscription.entries),
        )
        await self._send(joined)

    def on_unsubscribed(self, topic: str) -> None:
        """Send ``Left``."""
        self._queue(protocol.Left(room=topic.removeprefix(topic_of(""))))

    @classmethod
    def encode_presence(cls, transition: Transition) -> str | None:
        """Return the ``Presence`` of somebody who came or went."""
        if transition.state == "updated":
            return None
        room, name = transition.topic.removeprefix(topic_of("")), transition.metadata["name"]
        return protocol.encode(protocol.Presence(room=room, user=name, state=transition.state))

    @classmethod
    async def authorize_subscribers(cls, fanout: TopicFanout, subscribers: Sequence[Subscriber]) -> int:
        """Expel who may not be in a room any more, by two queries, and send ``Access`` to the others if it changed."""
        people = {member.grant.person for member in subscribers}
        slug = fanout.name.removeprefix(topic_of(""))
        room, standings = await current_hub().read(ROOM_STORE, read_access, slug, people)
        for member in subscribers:
            # Not one who has been admitted or has signed in meanwhile.
            if fanout.has(member) and member.access < room.access_version and member.grant.person in people:
                before = member.grant
                after = Membership(head_of(room), room, before.person, standings[before.person])
                member.grant, member.access = after, room.access_version
                _check(member, before, after)
        return int(room.access_version)

    # Chat

    async def _chat(self, command: protocol.Post) -> None:
        member = self._member(command.room)
        problem = check_content(command.content)
        if problem is not None:
            raise _refused(problem)
        room = member.grant.room
        write = Write(
            room_id=room.pk,
            slug=room.slug,
            person=self._person,
            content=command.content,
            ref=command.ref,
            sender=self.connection,
            standing=member.grant.standing,
            access_version=member.access,
        )
        await self.topics.submit(write, functools.partial(self._answer, write))

    def _answer(self, write: Write, outcome: Outcome) -> None:
        if isinstance(outcome, Stored):
            self._queue(protocol.Ack(ref=write.ref, room=write.slug, seq=outcome.seq, at=outcome.at))
        else:
            self._queue(protocol.Error(code=outcome.code, detail=outcome.detail, ref=write.ref))

    # History, Authenticate

    async def _history(self, command: protocol.History) -> None:
        member = self._member(command.room)
        entries = await self.topics.history(member.fanout.name, before=command.before, limit=command.limit)
        await self._send(protocol.Page(room=member.grant.room.slug, messages=raw(entries)))

    async def _authenticate(self, token: str) -> None:
        try:
            verified = await verify_access_token(token)
        except TokenRejected as rejection:
            raise MessageRefused("unauthorized", rejection.detail) from None
        if self._person.user_id not in (None, verified.user.pk):
            detail = "The token belongs to another user; open a connection of its own."
            raise MessageRefused("unauthorized", detail)
        was_anonymous = self._person.user_id is None
        if was_anonymous:
            try:
                await self.sign_in(verified.user, verified.generation)
            except HandshakeRejected as rejection:
                raise MessageRefused("rate_limited", rejection.detail) from None
        self.expire_at(verified.expires_at)
        self._person = Person.of(verified.user, self.anonymous_identity)
        assert verified.expires_at is not None  # every token has an expiry
        expires_at = datetime.datetime.fromtimestamp(verified.expires_at, datetime.UTC)
        await self._send(protocol.Authenticated(user=self._person.name, expires_at=expires_at))
        if was_anonymous:
            await self._check_rooms()

    async def _check_rooms(self) -> None:
        """Read what the person may do in each room, and leave those in which they may not be any more.

        Where an anonymous user has signed in, the others see the anonymous one go and the user come.
        """
        await self.topics.recheck()
        for topic in list(self.topics):
            if topic in self.topics:  # not expelled meanwhile
                await self.topics.update_presence(topic, {"name": self._person.name})

    def _member(self, slug: str | None) -> Subscriber:
        if slug is None and len(self.topics) > 1:
            rooms = sorted(member.grant.room.slug for member in self.topics.values())
            raise MessageRefused("invalid_message", f"room: needed, you are in {', '.join(rooms)}.")
        member = next(iter(self.topics.values()), None) if slug is None else self.topics.get(topic_of(slug))
        if member is None:
            detail = "Join a room first." if slug is None else f"You are not in {slug[:80]!r}."
            raise MessageRefused("not_joined", detail)
        return member

    async def _send(self, event: protocol.Event) -> None:
        await self.send_message(Message.text(protocol.encode(event)))

    def _queue(self, event: protocol.Event) -> None:
        """Send an event from code that cannot wait."""
        self.send_nowait(SharedMessage(text=protocol.encode(event)))


def _refused(refusal: Refusal) -> MessageRefused:
    return MessageRefused(refusal.code, refusal.detail)


def _check(member: Subscriber, before: Membership, after: Membership) -> None:
    was_removed = after.standing is Standing.OUTSIDER and before.standing is not Standing.OUTSIDER
    was_closed = after.room.closings > before.room.closings
    if was_removed or was_closed or decide(after.standing, after.room, Action.READ) is not None:
        member.fanout.end(member)
        return
    might_post, may_post = (decide(then.standing, then.room, Action.POST) is None for then in (before, after))
    if may_post is not might_post:
        access = protocol.Access(room=after.room.slug, may_post=may_post)
        member.notify(SharedMessage(text=protocol.encode(access)))
