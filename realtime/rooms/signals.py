"""Changes of rooms and memberships, wherever they are made, reach the feeds of every process.

A change that may take a right away raises the room's ``access_version`` in the same transaction: no message that is
stored after it is passed on before memberships were read again. The event only makes that quicker.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from realtime.rooms.events import changed, publish_from_thread
from realtime.rooms.models import Membership, Room

__all__: list[str] = []


@receiver(post_save, sender=Room, dispatch_uid="realtime.rooms.room_saved")
def _room_saved(instance: Room, created: bool, **_: Any) -> None:
    if not created:
        raise_access_version(instance.pk)


@receiver(post_delete, sender=Room, dispatch_uid="realtime.rooms.room_deleted")
def _room_deleted(instance: Room, **_: Any) -> None:
    room_id = instance.pk
    transaction.on_commit(lambda: publish_from_thread(room_id, [changed(room_id)]))


@receiver(post_save, sender=Membership, dispatch_uid="realtime.rooms.membership_saved")
def _membership_saved(instance: Membership, created: bool, **_: Any) -> None:
    # A new member gains rights. Only somebody who is banned without ever having entered loses some.
    if not created or instance.role == "banned":
        raise_access_version(instance.room_id)


@receiver(post_delete, sender=Membership, dispatch_uid="realtime.rooms.membership_deleted")
def _membership_deleted(instance: Membership, origin: Any, **_: Any) -> None:
    if not isinstance(origin, Room):
        raise_access_version(instance.room_id)


def raise_access_version(room_id: int) -> None:
    """Have every process read a room's settings and memberships again.

    Args:
        room_id: the room's primary key.
    """
    if Room.objects.filter(pk=room_id).update(access_version=F("access_version") + 1):
        transaction.on_commit(lambda: publish_from_thread(room_id, [changed(room_id)]))
