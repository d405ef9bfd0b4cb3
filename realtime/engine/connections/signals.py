"""Changes of groups and permissions have the rights of connected users checked again."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, PermissionsMixin
from django.db.models.signals import m2m_changed

from realtime.engine.auth.revocation import access_event, notify_users
from realtime.engine.connections.models import LiveConnection

__all__: list[str] = []

User = get_user_model()

#: Before a relation is cleared, its users can still be found.
CHANGES = {"post_add", "post_remove", "pre_clear"}


def _relations_of_user_changed(instance: Any, action: str, reverse: bool, pk_set: set[Any] | None, **_: Any) -> None:
    """Groups or permissions of one user have changed, or, in reverse, the users of one group or permission."""
    if action not in CHANGES:
        return
    if not reverse:
        notify_users([instance.pk], access_event())
    else:
        _notify_connected(pk__in=instance.user_set.all() if pk_set is None else pk_set)


def _permissions_of_groups_changed(
    instance: Any, action: str, reverse: bool, pk_set: set[Any] | None, **_: Any
) -> None:
    if action not in CHANGES:
        return
    if not reverse:
        _notify_connected(groups=instance.pk)
    else:
        _notify_connected(groups__in=instance.group_set.all() if pk_set is None else pk_set)


if issubclass(User, PermissionsMixin):
    for relation in (User.groups, User.user_permissions):
        m2m_changed.connect(
            _relations_of_user_changed, sender=relation.through, dispatch_uid=f"realtime.live.{relation.field.name}"
        )
    m2m_changed.connect(
        _permissions_of_groups_changed, sender=Group.permissions.through, dispatch_uid="realtime.live.permissions"
    )


def _notify_connected(**which: Any) -> None:
    """Send the event to the users who have a connection; there may be many without one."""
    users = User._default_manager.filter(**which).filter(pk__in=LiveConnection.objects.values("user"))
    notify_users(list(users.values_list("pk", flat=True)), access_event())
