"""Changes of groups and permissions have the rights of connected users checked again."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, PermissionsMixin
from django.db.models.signals import m2m_changed

from realtime.engine.auth.revocation import access_event, notify_users
from realtime.engine.connections.models import LiveConnection

User = get_user_model()

#: Before a relation is cleared, its users can still be found.
CHANGES = {"post_add", "post_remove", "pre_clear"}


def _watch(relation: Any, affected: str, owners: str) -> None:
    """Notify users when a many-to-many relation changes.

    Args:
        relation: one that decides about permissions.
        affected: the lookup that finds the users by those whose relation it is.
        owners: the attribute of the other side that has those whose relation it is.
    """

    def changed(instance: Any, action: str, reverse: bool, pk_set: set[Any] | None, **_: Any) -> None:
        if action not in CHANGES:
            return
        if isinstance(instance, User):
            users = [instance.pk]
        else:
            found = [instance.pk] if not reverse else pk_set or getattr(instance, owners).values("pk")
            # There may be many without a connection.
            connected = User._default_manager.filter(pk__in=LiveConnection.objects.values("user"))
            users = list(connected.filter(**{affected: found}).values_list("pk", flat=True))
        notify_users(users, access_event())

    m2m_changed.connect(changed, sender=relation.through, weak=False)


if issubclass(User, PermissionsMixin):
    _watch(User.groups, "pk__in", "user_set")
    _watch(User.user_permissions, "pk__in", "user_set")
    _watch(Group.permissions, "groups__in", "group_set")
