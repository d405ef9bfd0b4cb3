"""The messages of rooms: the next number of the room, given out in the transaction that stores the row.

Everything here is synchronous and runs in a database thread, or in the thread of a view. A room's messages are
committed in the order of their numbers, under the lock of its row.
"""

from __future__ import annotations

import datetime
import hashlib
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django.db import transaction
from django.db.models import QuerySet, Subquery
from django.utils import timezone

from realtime.engine.topics.database import TransactionalStore
from realtime.engine.topics.store import Entry, Head, Stored, TopicGone
from realtime.rooms.limits import limits
from realtime.rooms.models import Membership, Room, RoomMessage, topic_of
from realtime.rooms.permissions import Action, Person, Refusal, Standing, decide, standing_from, unknown_room
from realtime.rooms.protocol import Chat, encode

NOT_STORED = Refusal("internal", "The message could not be stored. Send it again, with the same ref.")
NOT_STORED_YET = Refusal("internal", "The message is not stored yet. Send it again, with the same ref.")


@dataclass(frozen=True, slots=True)
class Write:
    """A message on its way to the database.

    Args:
        room_id: the room's primary key.
        slug: the room's name.
        person: the author.
        content: the text, already checked by ``check_content()``.
        ref: the client's reference; the same author's message with the same ref and text is the same message.
        sender: identity of the connection; it gets no copy.
        standing: what the author was to the room when that was last looked up.
        access_version: the room's ``access_version`` at that time; when it has changed, it is looked up again.
        nonce: identifies this write among those that carry no ref.
    """

    room_id: int
    slug: str
    person: Person
    content: str
    ref: str | None
    sender: str
    standing: Standing
    access_version: int
    nonce: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def topic(self) -> str:
        """The topic of the room."""
        return topic_of(self.slug)

    @property
    def idempotency_key(self) -> str:
        """The same for a repeated message.

        The text is part of it: a client that counts its refs from 1 again after a reload loses no message.
        """
        if self.ref is None:
            return self.nonce
        parts = "\0".join((self.person.key, self.ref, self.content))
        return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()


Outcome = Stored | Refusal


class RoomStore(TransactionalStore[Write]):
    """Messages in ``RoomMessage``, under the lock and the counters of ``Room``."""

    not_stored: ClassVar[Any] = NOT_STORED
    not_stored_yet: ClassVar[Any] = NOT_STORED_YET

    def store(self, writes: Sequence[Write], perhaps_stored: Sequence[Write]) -> list[Outcome]:
        """Store messages under the locks of their rooms."""
        with transaction.atomic():
            rooms = lock_rooms(write.room_id for write in writes)
            known = _known_messages(perhaps_stored)
            roles = _changed_roles(writes, rooms)
            now = timezone.now()
            rows: list[RoomMessage] = []
            outcomes: list[Outcome] = []
            for write in writes:
                refusal = _refusal(write, rooms.get(write.room_id), roles)
                if refusal is not None:
                    outcomes.append(refusal)
                    continue
                room, place = rooms[write.room_id], (write.room_id, write.idempotency_key)
                is_repeat = place in known
                if not is_repeat:
                    known[place] = _new_row(write, room, now)
                    rows.append(known[place])
                row = known[place]
                chat = Chat(room=room.slug, seq=row.seq, user=row.name, content=row.content, at=row.at)
                stored = Stored(str(room.epoch), row.seq, row.at, encode(chat), room.access_version, is_repeat)
                outcomes.append(stored)
            RoomMessage.objects.bulk_create(rows)
            for room in {row.room for row in rows}:
                Room.objects.filter(pk=room.pk).update(last_seq=room.last_seq)
        return outcomes

    def may_repeat(self, write: Write) -> bool:
        """Return whether a message has a ``ref``."""
        return write.ref is not None

    def heads(self, topics: Collection[str]) -> dict[str, Head]:
        """Return where rooms stand."""
        rooms = Room.objects.filter(slug__in=[_slug(topic) for topic in topics])
        fields = rooms.values_list("slug", "epoch", "last_seq", "access_version")
        return {topic_of(slug): Head(str(epoch), *counters) for slug, epoch, *counters in fields}

    def read_after(self, topic: str, after: int, upto: int, limit: int) -> list[Entry]:
        """Return the messages with numbers over ``after`` and not over ``upto`` that are not hidden."""
        rows = _rows(topic).filter(is_hidden=False, seq__gt=after, seq__lte=upto).order_by("seq")
        return [_entry(topic, row) for row in rows[:limit]]

    def read_before(self, topic: str, before: int | None, limit: int) -> list[Entry]:
        """Return the last messages with numbers under ``before``, or the newest, that are not hidden."""
        rows = _rows(topic).filter(is_hidden=False)
        if before is not None:
            rows = rows.filter(seq__lt=before)
        return [_entry(topic, row) for row in reversed(list(rows.order_by("-seq")[:limit]))]

    def keeps(self, topic: str, seq: int) -> bool:
        """Return whether a message was not pruned."""
        return _rows(topic).filter(seq=seq).exists()


#: The messages of all rooms.
ROOM_STORE = RoomStore()


def head_of(room: Room) -> Head:
    """Return where a room stood when it was read."""
    return Head(str(room.epoch), room.last_seq, room.access_version)


def read_access(slug: str, people: Collection[Person]) -> tuple[Room, dict[Person, Standing]]:
    """Return a room and what people are to it, as of its ``access_version`` or later.

    Raises:
        TopicGone: if there is no such room.
    """
    room = Room.objects.filter(slug=slug).first()
    if room is None:
        raise TopicGone(topic_of(slug))
    user_ids = [person.user_id for person in people if person.user_id is not None]
    roles: Any = dict(room.memberships.filter(user_id__in=user_ids).values_list("user_id", "role"))
    return room, {person: standing_from(person.user, roles.get(person.user_id)) for person in people}


def check_content(content: str) -> Refusal | None:
    """Return what is wrong with the text of a message, None if nothing is."""
    if not content.strip():
        return Refusal("invalid_message", "content: a message needs a text.")
    if len(content) > limits().content_length:
        return Refusal("too_large", f"content: at most {limits().content_length} characters, not {len(content)}.")
    if "\0" in content:
        return Refusal("invalid_message", "content: the character U+0000 cannot be stored.")
    try:
        content.encode()
    except UnicodeEncodeError:
        return Refusal("invalid_message", "content: half a surrogate pair is no character.")
    return None


def lock_rooms(ids: Iterable[int]) -> dict[int, Room]:
    """Return rooms by primary key, locked until the end of the transaction, in an order that cannot deadlock.

    On PostgreSQL the rows are locked, weakly enough for rows that refer to them; on SQLite the whole database is.
    """
    rooms = Room.objects.select_for_update(no_key=True).filter(pk__in=set(ids)).order_by("pk")
    return {room.pk: room for room in rooms}


def _refusal(write: Write, room: Room | None, roles: dict[tuple[int, int | None], str]) -> Refusal | None:
    if room is None:
        return unknown_room(write.slug)
    standing = write.standing
    if room.access_version != write.access_version:
        standing = standing_from(write.person.user, roles.get((room.pk, write.person.user_id)))
        if standing is Standing.OUTSIDER and write.standing is not Standing.OUTSIDER:
            return Refusal("not_joined", "You are no longer a member of this room.")
    return decide(standing, room, Action.POST)


def _new_row(write: Write, room: Room, now: datetime.datetime) -> RoomMessage:
    room.last_seq += 1
    return RoomMessage(
        room=room,
        seq=room.last_seq,
        author_id=write.person.user_id,
        name=write.person.name,
        content=write.content,
        at=now,
        connection=write.sender,
        idempotency_key=write.idempotency_key,
    )


def _known_messages(writes: Sequence[Write]) -> dict[tuple[int, str], RoomMessage]:
    if not writes:
        return {}
    rows = RoomMessage.objects.filter(
        room_id__in={write.room_id for write in writes},
        idempotency_key__in=[write.idempotency_key for write in writes],
    )
    return {(row.room_id, row.idempotency_key): row for row in rows}


def _changed_roles(writes: Sequence[Write], rooms: dict[int, Room]) -> dict[tuple[int, int | None], str]:
    """Read the roles of authors in rooms in which something has changed since they were admitted."""
    outdated = [
        write
        for write in writes
        if write.room_id in rooms and rooms[write.room_id].access_version != write.access_version
    ]
    if not outdated:
        return {}
    memberships = Membership.objects.filter(
        room_id__in={write.room_id for write in outdated}, user_id__in={write.person.user_id for write in outdated}
    )
    return {(membership.room_id, membership.user_id): membership.role for membership in memberships}


def _slug(topic: str) -> str:
    return topic.removeprefix(topic_of(""))


def _rows(topic: str) -> QuerySet[RoomMessage]:
    # A subquery, not a join: the index of room and number then gives the order as well.
    return RoomMessage.objects.filter(room_id=Subquery(Room.objects.filter(slug=_slug(topic)).values("pk")[:1]))


def _entry(topic: str, row: RoomMessage) -> Entry:
    at = row.at.astimezone(datetime.UTC)
    chat = Chat(room=_slug(topic), seq=row.seq, user=row.name, content=row.content, at=at)
    return Entry(row.seq, encode(chat), row.connection)
