"""What Django code does to rooms: views, admin actions, commands. Synchronous; the connected members notice at once."""

from __future__ import annotations

import functools

from django.db import transaction
from django.db.models import F, Q, QuerySet

from realtime.rooms import protocol
from realtime.rooms.access import Action, AnyUser, Refusal, RoomFacts, decide, standing_of
from realtime.rooms.events import messages, notice, publish_from_thread
from realtime.rooms.history import Entry
from realtime.rooms.models import Membership, Role, Room, RoomMessage
from realtime.rooms.people import Person
from realtime.rooms.storage import Outcome, Stored, Write, check_content, store_writes

__all__ = ["close_room", "post_message", "set_archived", "set_hidden", "visible_rooms"]


def post_message(room: Room, person: Person, content: str, ref: str | None = None) -> Outcome:
    """Store a message under the rules of the room, and publish it to the connected members.

    Args:
        room: the room.
        person: the author.
        content: the text.
        ref: a reference of the author's; the same one with the same text is the same message.
    """
    standing = standing_of(person.user, room)
    problem: Refusal | None = decide(standing, RoomFacts.of(room), Action.POST) or check_content(content)
    if problem is not None:
        return problem
    write = Write(room.pk, room.slug, person, content, ref, "", standing, room.access_version)
    outcome = store_writes([write])[0]
    if isinstance(outcome, Stored) and not outcome.is_repeat:
        entry = Entry(outcome.seq, outcome.text, "")
        events = messages(room.pk, outcome.access_version, [entry], origin="")
        transaction.on_commit(functools.partial(publish_from_thread, room.pk, events))
    return outcome


def set_hidden(rows: QuerySet[RoomMessage], hidden: bool) -> int:
    """Hide messages, or show them again; connected members are told of what is hidden. Returns how many changed."""
    changed = list(rows.filter(is_hidden=not hidden).select_related("room"))
    RoomMessage.objects.filter(pk__in=[row.pk for row in changed]).update(is_hidden=hidden)
    if hidden:
        for row in changed:
            event = notice(row.room_id, protocol.encode(protocol.Hidden(room=row.room.slug, seq=row.seq)))
            transaction.on_commit(functools.partial(publish_from_thread, row.room_id, [event]))
    return len(changed)


def set_archived(room: Room, archived: bool) -> None:
    """Make a room read-only, or open it again."""
    room.is_archived = archived
    room.save(update_fields=["is_archived"])


def close_room(room: Room) -> None:
    """Archive a room and put everybody out of it."""
    Room.objects.filter(pk=room.pk).update(is_archived=True, closings=F("closings") + 1)


def visible_rooms(user: AnyUser) -> QuerySet[Room]:
    """Return the rooms that a user may read; the same rule as ``decide(..., Action.READ)``, as a query."""
    rooms = Room.objects.all()
    if not user.is_authenticated:
        return rooms.filter(is_public=True, strangers_may_read=True)
    if getattr(user, "is_staff", False):
        return rooms
    own = Membership.objects.filter(user_id=user.pk)
    banned = own.filter(role=Role.BANNED).values("room")
    return rooms.filter(Q(is_public=True) | Q(pk__in=own.values("room"))).exclude(pk__in=banned)
