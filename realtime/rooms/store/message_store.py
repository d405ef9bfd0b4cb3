"""Stores messages: the next number of the room, given out in the transaction that stores the row.

Everything here is synchronous and runs in a database thread, or in the thread of a view.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from realtime.rooms.limits import limits
from realtime.rooms.models import Membership, Room, RoomMessage
from realtime.rooms.permissions import Action, Person, Refusal, Standing, decide, standing_from, unknown_room
from realtime.rooms.protocol import Chat, encode

logger = logging.getLogger("realtime.rooms")

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
        connection: identity of the connection; it gets no copy.
        standing: what the author was to the room when that was last looked up.
        access_version: the room's ``access_version`` at that time; when it has changed, it is looked up again.
        nonce: identifies this write among those that carry no ref.
    """

    room_id: int
    slug: str
    person: Person
    content: str
    ref: str | None
    connection: str
    standing: Standing
    access_version: int
    nonce: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def idempotency_key(self) -> str:
        """The same for a repeated message.

        The text is part of it: a client that counts its refs from 1 again after a reload loses no message.
        """
        if self.ref is None:
            return self.nonce
        parts = "\0".join((self.person.key, self.ref, self.content))
        return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Stored:
    """A message that is in the database.

    Args:
        seq: its number in the room.
        at: when it was stored.
        text: the ``Chat`` event that its readers get.
        access_version: the room's at the moment of storing.
        is_repeat: whether it was there already.
    """

    seq: int
    at: datetime.datetime
    text: str
    access_version: int
    is_repeat: bool = False


Outcome = Stored | Refusal


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


def store_writes(writes: Sequence[Write]) -> list[Outcome]:
    """Store messages in one transaction and return the outcome of each, in order.

    A transaction whose connection was lost is tried once more; a message that was committed after all is then
    found by its key, and not stored again. A message that the database refuses is singled out; the others are stored.

    Raises:
        OperationalError: if the database cannot be reached.
    """
    try:
        return _store_in_one_transaction(writes, [write for write in writes if write.ref is not None])
    except (DataError, IntegrityError):
        if len(writes) == 1:
            logger.exception("the database refused a message for room %s", writes[0].slug)
            return [NOT_STORED]
        return [store_writes([write])[0] for write in writes]
    except (OperationalError, InterfaceError):
        if connection.in_atomic_block:
            raise  # of a caller's transaction, which is lost as a whole
        connection.close()
        return _store_in_one_transaction(writes, writes)


def lock_rooms(ids: Iterable[int]) -> dict[int, Room]:
    """Return rooms by primary key, locked until the end of the transaction, in an order that cannot deadlock.

    On PostgreSQL the rows are locked, weakly enough for rows that refer to them; on SQLite the whole database is.
    """
    rooms = Room.objects.select_for_update(no_key=True).filter(pk__in=set(ids)).order_by("pk")
    return {room.pk: room for room in rooms}


def _store_in_one_transaction(writes: Sequence[Write], perhaps_stored: Sequence[Write]) -> list[Outcome]:
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
            outcomes.append(Stored(row.seq, row.at, encode(chat), room.access_version, is_repeat))
        RoomMessage.objects.bulk_create(rows)
        for room in {row.room for row in rows}:
            Room.objects.filter(pk=room.pk).update(last_seq=room.last_seq)
    return outcomes


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
        connection=write.connection,
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
