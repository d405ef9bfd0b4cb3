"""What rooms offer to Django code: entering, creating, posting, hiding, closing, pruning.

Synchronous; runs in a database thread, a view, an admin action or a command. Connected members notice at once.
"""

from __future__ import annotations

import bisect
import datetime
import math
import uuid
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.utils import timezone
from django.utils.crypto import salted_hmac

from realtime.engine.topics.publishing import publish_text, recheck_topic, store_and_publish
from realtime.rooms import protocol
from realtime.rooms.models import Membership, Role, Room, RoomMessage, topic_of
from realtime.rooms.permissions import (
    Action,
    AnyUser,
    Person,
    Refusal,
    Standing,
    decide,
    may_create,
    standing_of,
    unknown_room,
)
from realtime.rooms.store import ROOM_STORE, Outcome, Write, check_content, lock_rooms

__all__ = [
    "PRUNE_BATCH",
    "admit",
    "close_room",
    "create_room",
    "oldest_kept",
    "post_message",
    "prune_room",
    "recheck_room",
    "set_hidden",
]

#: Time in which new rooms are counted.
QUOTA_WINDOW = datetime.timedelta(hours=1)

#: Messages that ``prune_room()`` deletes in one transaction: some tens of milliseconds.
PRUNE_BATCH = 1000


def admit(user: AnyUser, slug: str, address: str) -> tuple[Room, Standing] | Refusal:
    """Let a user into a room by the socket, and return the room and what the user is to it.

    A signed-in user becomes a member of a public room by entering it. A room that does not exist is made where
    ``REALTIME_ROOM_CREATION`` and ``REALTIME_ROOMS_PER_HOUR`` let this user make one.

    Args:
        user: a user, or ``AnonymousUser``.
        slug: the room's name, of the characters that a name may have.
        address: the client's, as limits count it.
    """
    room = Room.objects.filter(slug=slug).first()
    if room is None:
        if not may_create(user):
            return unknown_room(slug)
        # In a room that an anonymous user makes, anonymous users may write.
        created = create_room(user, address, slug, anonymous_may_post=not user.is_authenticated)
        if isinstance(created, Refusal):
            return created
        room, _ = created
    standing = standing_of(user, room)
    if standing is Standing.OUTSIDER and room.is_public:
        return _enrol(user, room)
    return decide(standing, room, Action.READ) or (room, standing)


@transaction.atomic
def create_room(user: AnyUser, address: str, slug: str, **fields: Any) -> tuple[Room, bool] | Refusal:
    """Make a room, unless it is one too many. A user becomes its moderator; staff may make any number.

    Args:
        user: a user, or ``AnonymousUser``.
        address: the client's, as limits count it. It is not stored.
        slug: the name. The room that has it is returned with False, a new one with True.
        fields: the settings of a new room.
    """
    author = user if user.is_authenticated else None
    if author is None:
        key = salted_hmac("realtime.rooms.quota", address, algorithm="sha256").hexdigest()
    else:
        key = Person.of(author, "").key
    if not getattr(user, "is_staff", False) and settings.REALTIME_ROOMS_PER_HOUR > 0:
        refusal = _over_quota(key, settings.REALTIME_ROOMS_PER_HOUR)
        if refusal is not None:
            return refusal
    fields |= {"quota_key": key, "created_by": author}
    room, is_new = Room.objects.get_or_create(slug=slug, defaults=fields)
    if is_new and author is not None:
        Membership.objects.create(room=room, user=author, role=Role.MODERATOR)  # type: ignore[misc]
    return room, is_new


def _over_quota(key: str, limit: int) -> Refusal | None:
    """Count under a lock that is held to the end of the transaction; SQLite's transaction is one already."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])
    now = timezone.now()
    counted = Room.objects.filter(quota_key=key, created_at__gt=now - QUOTA_WINDOW).order_by("-created_at")
    blocking = counted.values_list("created_at", flat=True)[limit - 1 : limit].first()
    if blocking is None:
        return None
    detail = f"At most {limit} new rooms in an hour; join one that exists, or try again later."
    return Refusal("rate_limited", detail, retry_after=math.ceil((blocking + QUOTA_WINDOW - now).total_seconds()))


@transaction.atomic
def _enrol(user: AnyUser, room: Room) -> tuple[Room, Standing] | Refusal:
    """Make a user a member unless the room is full, under its lock: two cannot take the last place."""
    locked = lock_rooms([room.pk]).get(room.pk)
    if locked is None:
        return unknown_room(room.slug)
    standing = standing_of(user, locked)
    if standing is Standing.OUTSIDER and locked.is_public:
        members = locked.memberships.exclude(role=Role.BANNED).count()
        if locked.member_limit is not None and members >= locked.member_limit:
            return Refusal("forbidden", "This room is full.")
        Membership.objects.create(room=locked, user=user)  # type: ignore[misc]
        standing = Standing.MEMBER
    return decide(standing, locked, Action.READ) or (locked, standing)


def post_message(room: Room, user: AnyUser, content: str, ref: str | None = None) -> Outcome:
    """Store a message under the rules of the room, and publish it to the connected members.

    Args:
        room: the room.
        user: the author; a message of an anonymous one has a name of its own.
        content: the text.
        ref: a reference of the author's; the same one with the same text is the same message.
    """
    problem = check_content(content)
    if problem is not None:
        return problem
    person = Person.of(user, uuid.uuid4().hex)
    write = Write(room.pk, room.slug, person, content, ref, "", standing_of(user, room), room.access_version)
    outcome: Outcome = store_and_publish(ROOM_STORE, write)
    return outcome


def set_hidden(rows: QuerySet[RoomMessage], hidden: bool) -> int:
    """Hide messages, or show them again; the connected members learn what is hidden. Returns how many changed."""
    changed = list(rows.filter(is_hidden=not hidden).select_related("room"))
    RoomMessage.objects.filter(pk__in=[row.pk for row in changed]).update(is_hidden=hidden)
    if hidden:
        for row in changed:
            text = protocol.encode(protocol.Hidden(room=row.room.slug, seq=row.seq))
            publish_text(topic_of(row.room.slug), text)
    return len(changed)


def recheck_room(slug: str, **_: Any) -> None:
    """Have the processes with members in a room read its settings and memberships again."""
    recheck_topic(topic_of(slug))


def close_room(room: Room) -> None:
    """Archive a room and put everybody out of it."""
    Room.objects.filter(pk=room.pk).update(is_archived=True, closings=F("closings") + 1)


def oldest_kept(room: Room, before: datetime.datetime, keep: int) -> int:
    """Return the number of the oldest message that stays.

    Args:
        room: the room.
        before: messages from before this may go.
        keep: the newest so many stay in any case.
    """
    end = Room.objects.values_list("last_seq", flat=True).get(pk=room.pk) + 1
    by_number = room.messages.order_by("seq")

    def stored_at(seq: int) -> datetime.datetime:
        return by_number.filter(seq__gte=seq).values_list("at", flat=True).first() or before

    # Numbers and times rise together: a binary search in the index finds the place.
    first = by_number.values_list("seq", flat=True).first() or end
    return min(bisect.bisect_left(range(end), before, first, key=stored_at), end - keep)


def prune_room(room: Room, bound: int, batch: int = PRUNE_BATCH) -> int:
    """Delete up to ``batch`` of the oldest messages with a number under ``bound``; returns how many.

    It does not lock the room: new messages have numbers above. A client that comes back with a ``since`` from before
    the oldest message gets ``recovered: false`` and the newest messages.
    """
    with transaction.atomic():
        oldest = list(room.messages.filter(seq__lt=bound).order_by("seq").values_list("pk", flat=True)[:batch])
        deleted, _ = RoomMessage.objects.filter(pk__in=oldest).delete()
    return deleted
