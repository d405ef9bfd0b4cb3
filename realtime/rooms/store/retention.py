"""Forgets the beginning of rooms. The numbers of the messages that stay have no holes, and no number is given twice.

A client that comes back with a ``since`` from before the beginning gets ``recovered: false`` and the newest messages.
"""

from __future__ import annotations

import datetime

from django.db import transaction

from realtime.rooms.models import Room, RoomMessage

__all__ = ["BATCH", "oldest_kept", "prune_room"]

#: Messages that are deleted in one transaction: some tens of milliseconds in which nobody waits for the rows.
BATCH = 1000


def oldest_kept(room: Room, before: datetime.datetime, keep: int) -> int:
    """Return the number of the oldest message that stays.

    Args:
        room: the room.
        before: messages from before this may go.
        keep: the newest so many stay in any case.
    """
    last = Room.objects.values_list("last_seq", flat=True).get(pk=room.pk)
    by_number = room.messages.order_by("seq")
    low = by_number.values_list("seq", flat=True).first() or last + 1
    high = last + 1
    # Numbers and times rise together: a dozen looks at the index find the place in a million rows.
    while low < high:
        middle = (low + high) // 2
        at = by_number.filter(seq__gte=middle).values_list("at", flat=True).first()
        if at is not None and at < before:
            low = middle + 1
        else:
            high = middle
    return min(low, last + 1 - keep)


def prune_room(room: Room, bound: int, batch: int = BATCH) -> int:
    """Delete up to ``batch`` of the oldest messages with a number under ``bound``; returns how many.

    It takes no lock of the room: new messages have numbers above.
    """
    with transaction.atomic():
        oldest = list(room.messages.filter(seq__lt=bound).order_by("seq").values_list("pk", flat=True)[:batch])
        deleted, _ = RoomMessage.objects.filter(pk__in=oldest).delete()
    return deleted
