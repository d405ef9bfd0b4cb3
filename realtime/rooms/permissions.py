"""Who may do what in which room: one table, for the socket, the API and the admin.

``decide()`` and ``VISIBLE_IF`` are the only places with rules. The socket and the API give reasons in English, pages in
the language of the request.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import QuerySet
from django.utils.translation import gettext_noop as _

from realtime.rooms.limits import MAX_NAME
from realtime.rooms.models import Membership, Role, Room
from realtime.rooms.protocol import ErrorCode

__all__ = [
    "Action",
    "Person",
    "Refusal",
    "Standing",
    "decide",
    "may_create",
    "name_of",
    "refusal_for",
    "standing_from",
    "standing_of",
    "unknown_room",
    "visible_rooms",
]

#: Hexadecimal digits in the name of an anonymous user; two in one room rarely have the same.
NAME_DIGITS = 8

AnyUser = AbstractBaseUser | AnonymousUser


def name_of(user: AbstractBaseUser) -> str:
    """Return what others see of a user: what they log in by.

    Return something else here where that is nothing for others to see, such as an email address.
    """
    return user.get_username()[:MAX_NAME]


@dataclass(frozen=True, slots=True)
class Person:
    """An identity in a room: a user of the site, or an anonymous one.

    Args:
        key: the same for every connection of a user, and of a browser that is anonymous.
        name: what others see.
        user: the user, or ``AnonymousUser``.
    """

    key: str
    name: str
    user: AnyUser

    @classmethod
    def of(cls, user: AnyUser, anonymous: str) -> Person:
        """Return the identity of ``user``; of an anonymous one by the hexadecimal digits ``anonymous``."""
        if user.is_authenticated:
            return cls(f"user:{user.pk}", name_of(user), user)
        return cls(f"anonymous:{anonymous}", f"anonymous-{anonymous[:NAME_DIGITS]}", user)

    @property
    def user_id(self) -> int | None:
        """Primary key of the user; None for an anonymous one."""
        return self.user.pk if self.user.is_authenticated else None


class Standing(enum.StrEnum):
    """What a user is to a room."""

    ANONYMOUS = "anonymous"
    """Not signed in."""
    OUTSIDER = "outsider"
    """Signed in, and without a membership."""
    MEMBER = "member"
    MODERATOR = "moderator"
    """A moderator of the room, or staff of the site."""
    BANNED = "banned"


class Action(enum.StrEnum):
    """What a user wants to do in a room."""

    READ = "read"
    """Learn that the room exists, enter it, read its messages."""
    POST = "post"
    MODERATE = "moderate"
    """Change the room, its memberships and its messages."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a user may not do something.

    Args:
        code: code of the protocol's ``Error``, for instance ``unknown_room`` or ``forbidden``.
        detail: the reason, for people.
        retry_after: seconds until they may, where it is only a matter of time.
    """

    code: ErrorCode
    detail: str
    retry_after: int | None = None


def unknown_room(slug: str) -> Refusal:
    """Return the refusal for a room that does not exist; the same for one that may not be seen."""
    return Refusal("unknown_room", f"There is no room {slug[:80]!r}.")


#: What a room's settings have to be for a user to see that it exists. ``decide()`` and ``visible_rooms()`` share it.
VISIBLE_IF: dict[Standing, dict[str, bool]] = {
    Standing.ANONYMOUS: {"is_public": True, "anonymous_may_read": True},
    Standing.OUTSIDER: {"is_public": True},
    Standing.MEMBER: {},
    Standing.MODERATOR: {},
    Standing.BANNED: {"is_public": True},
}


def decide(standing: Standing, room: Room, action: Action) -> Refusal | None:
    """Return why a user may not do something in a room, None if they may.

    Args:
        standing: what they are to the room.
        room: the room, with its settings.
        action: what they want to do.
    """
    if any(getattr(room, setting) is not value for setting, value in VISIBLE_IF[standing].items()):
        return unknown_room(room.slug)
    if standing is Standing.BANNED:
        return Refusal("forbidden", _("You are banned from this room."))
    if action is Action.MODERATE and standing is not Standing.MODERATOR:
        return Refusal("forbidden", "Only moderators of this room may do that.")
    if action is Action.POST and room.is_archived:
        return Refusal("forbidden", _("This room is archived; it can only be read."))
    if action is Action.POST and standing is Standing.ANONYMOUS and not room.anonymous_may_post:
        return Refusal("forbidden", _("Log in to write in this room."))
    return None


def visible_rooms(user: AnyUser) -> QuerySet[Room]:
    """Return the rooms that a user may read."""
    standing = standing_from(user, None)
    rooms = Room.objects.filter(**VISIBLE_IF[standing])
    if not user.is_authenticated or standing is not Standing.OUTSIDER:
        return rooms
    own = Membership.objects.filter(user_id=user.pk)
    banned = own.filter(role=Role.BANNED).values("room")
    return (rooms | Room.objects.filter(pk__in=own.values("room"))).exclude(pk__in=banned)


def standing_from(user: AnyUser, role: str | None) -> Standing:
    """Return what ``user`` is to a room in which their membership has ``role``; None for no membership."""
    if not user.is_authenticated:
        return Standing.ANONYMOUS
    if getattr(user, "is_staff", False):
        return Standing.MODERATOR
    return Standing.OUTSIDER if role is None else Standing(role)


def standing_of(user: AnyUser, room: Room) -> Standing:
    """Return what ``user`` is to ``room``, by one query."""
    if not user.is_authenticated:
        return Standing.ANONYMOUS
    memberships: Any = Membership.objects.filter(room=room, user_id=user.pk)
    return standing_from(user, memberships.values_list("role", flat=True).first())


def refusal_for(user: AnyUser, room: Room, action: Action) -> Refusal | None:
    """Return why ``user`` may not do ``action`` in ``room``, None if they may; by one query."""
    return decide(standing_of(user, room), room, action)


def may_create(user: AnyUser) -> bool:
    """Return whether ``user`` may make a new room, as ``REALTIME_ROOM_CREATION`` says."""
    match settings.REALTIME_ROOM_CREATION:
        case "anyone":
            return True
        case "authenticated":
            return bool(user.is_authenticated)
    return bool(getattr(user, "is_staff", False))
