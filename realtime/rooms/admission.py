"""Lets a person into a room, and makes the room where it does not exist and the person may make one.

Synchronous; runs in a database thread or in a view.
"""

from __future__ import annotations

import datetime
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from realtime.rooms.access import (
    Action,
    AnyUser,
    Refusal,
    RoomFacts,
    Standing,
    decide,
    may_create,
    standing_of,
    unknown_room,
)
from realtime.rooms.models import SLUG, Membership, Role, Room
from realtime.rooms.people import Person
from realtime.rooms.storage import lock_rooms

__all__ = ["Admission", "admit", "create_room", "create_within_quota"]

#: Time in which new rooms are counted.
QUOTA_WINDOW = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Admission:
    """A person may be in a room.

    Args:
        room_id: the room's primary key.
        slug: its name.
        epoch: identity of its numbering.
        facts: its settings.
        standing: what the person is to it.
        access_version: the room's when that was looked up.
        closings: the room's counter of closings.
    """

    room_id: int
    slug: str
    epoch: str
    facts: RoomFacts
    standing: Standing
    access_version: int
    closings: int


def admit(user: AnyUser, slug: str, address: str) -> Admission | Refusal:
    """Let a user into a room by the socket.

    Who is signed in becomes a member of a public room by entering it. A room that does not exist is made where
    ``REALTIME_ROOM_CREATION`` and ``REALTIME_ROOMS_PER_HOUR`` let this user make one.

    Args:
        user: a user, or ``AnonymousUser``.
        slug: the room's name, as the client wrote it.
        address: the client's, as limits count it.
    """
    if SLUG.fullmatch(slug) is None:
        return unknown_room(slug)
    room = Room.objects.filter(slug=slug).first()
    if room is None:
        if not may_create(user):
            return unknown_room(slug)
        created = create_room(user, slug, address)
        if isinstance(created, Refusal):
            return created
        room = created
    standing = standing_of(user, room)
    if standing is Standing.OUTSIDER and room.is_public:
        return _enrol(user, room)
    refusal = decide(standing, RoomFacts.of(room), Action.READ)
    return refusal or _admission(room, standing)


def create_room(user: AnyUser, slug: str, address: str) -> Room | Refusal:
    """Make a public room, or return the one that somebody else has made at the same moment.

    In a room that a visitor makes, visitors may write.
    """
    create = functools.partial(Room.objects.create, slug=slug, strangers_may_post=not user.is_authenticated)
    try:
        room = create_within_quota(user, address, create)
    except IntegrityError:
        return Room.objects.get(slug=slug)
    return room if isinstance(room, Refusal) else Room.objects.get(pk=room.pk)


@transaction.atomic
def create_within_quota(user: AnyUser, address: str, create: Callable[..., Room]) -> Room | Refusal:
    """Make a room, unless that is one too many. A user becomes its moderator.

    Args:
        user: a user, or ``AnonymousUser``.
        address: the client's, as limits count it.
        create: makes the room with the fields ``created_by`` and ``quota_key``.

    Raises:
        IntegrityError: if there is a room of this name.
    """
    key = _quota_key(user, address)
    refusal = _over_quota(user, key)
    if refusal is not None:
        return refusal
    room = create(quota_key=key, created_by=user if user.is_authenticated else None)
    if user.is_authenticated:
        Membership.objects.create(room=room, user=user, role=Role.MODERATOR)  # type: ignore[misc]
    return room


def _quota_key(user: AnyUser, address: str) -> str:
    """Return whose quota a new room counts for; the address of a visitor is not stored.

    Args:
        user: a user, or ``AnonymousUser``.
        address: the client's, as limits count it.
    """
    if user.is_authenticated:
        return Person.of(user, "").key
    return salted_hmac("realtime.rooms.quota", address, algorithm="sha256").hexdigest()


def _over_quota(user: AnyUser, key: str) -> Refusal | None:
    """Return why a user may not make one more room now, None where they may; staff may make any number.

    Call it in the transaction that makes the room: it counts under a lock that is held to its end.

    Args:
        user: a user, or ``AnonymousUser``.
        key: of ``_quota_key()``.
    """
    limit = settings.REALTIME_ROOMS_PER_HOUR
    if limit <= 0 or getattr(user, "is_staff", False):
        return None
    _lock_quota(key)
    now = timezone.now()
    counted = Room.objects.filter(quota_key=key, created_at__gt=now - QUOTA_WINDOW).order_by("-created_at")
    blocking = counted.values_list("created_at", flat=True)[limit - 1 : limit].first()
    if blocking is None:
        return None
    detail = f"At most {limit} new rooms in an hour; join one that exists, or try again later."
    return Refusal("rate_limited", detail, retry_after=math.ceil((blocking + QUOTA_WINDOW - now).total_seconds()))


def _lock_quota(key: str) -> None:
    """Hold up others with the same key until the end of the transaction. On SQLite the transaction does so already."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])


def _enrol(user: AnyUser, room: Room) -> Admission | Refusal:
    """Make a user a member, unless the room is full; under its lock, so that two cannot take the last place."""
    with transaction.atomic():
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
        refusal = decide(standing, RoomFacts.of(locked), Action.READ)
        locked.refresh_from_db(fields=["access_version"])
        return refusal or _admission(locked, standing)


def _admission(room: Room, standing: Standing) -> Admission:
    return Admission(
        room.pk, room.slug, str(room.epoch), RoomFacts.of(room), standing, room.access_version, room.closings
    )
