"""Changes of rooms and memberships, wherever they are made, reach the feeds of every process.

A change that may take a right away raises the room's ``access_version`` in the same transaction: no message that is
stored after it is passed on before memberships were read again. The event only makes that quicker. Django has no signal
for changes of many rows at once: the querysets of ``realtime.rooms.models`` tell of those.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from realtime.rooms.events import changed, publish_from_thread
from realtime.rooms.models import Membership, Room, access_changed

__all__: list[str] = []


@receiver(post_save, sender=Room, dispatch_uid="realtime.rooms.room_saved")
def _room_saved(instance: Room, created: bool, **_: Any) -> None:
    if not created:
        _raise_access_version([instance.pk])


@receiver(post_delete, sender=Room, dispatch_uid="realtime.rooms.room_deleted")
def _room_deleted(instance: Room, **_: Any) -> None:
    room_id = instance.pk
    transaction.on_commit(lambda: publish_from_thread(room_id, [changed(room_id)]))


@receiver(post_save, sender=Membership, dispatch_uid="realtime.rooms.membership_saved")
def _membership_saved(instance: Membership, created: bool, **_: Any) -> None:
    # A new member gains rights. Only somebody who is banned without ever having entered loses some.
    if not created or instance.role == "banned":
        _raise_access_version([instance.room_id])


@receiver(post_delete, sender=Membership, dispatch_uid="realtime.rooms.membership_deleted")
def _membership_deleted(instance: Membership, origin: Any, **_: Any) -> None:
    if not isinstance(origin, Room):
        _raise_access_version([instance.room_id])


@receiver(access_changed, dispatch_uid="realtime.rooms.access_changed")
def _access_changed(room_ids: Iterable[int], **_: Any) -> None:
    _raise_access_version(room_ids)


def _raise_access_version(room_ids: Iterable[int]) -> None:
    """Have every process read the settings and memberships of rooms again."""
    # In an order that cannot deadlock with lock_rooms().
    for room_id in sorted(room_ids):
        if Room.objects.filter(pk=room_id).update(access_version=F("access_version") + 1):
            transaction.on_commit(functools.partial(publish_from_thread, room_id, [changed(room_id)]))
