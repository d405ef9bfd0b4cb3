"""What a user may do, in a form that two looks at the database can compare."""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, PermissionsMixin

from realtime.engine.connections.registry import Rights

__all__ = ["Grants", "read_grants", "read_rights", "rights_of"]

#: Groups and permissions of a user, those of the groups included.
Grants = frozenset[tuple[str, Any]]


def rights_of(user: Any) -> Rights:
    """Return what the row of a user says."""
    return Rights(user.password, tuple(getattr(user, flag) for flag in _flags()))


def read_rights(user_ids: Collection[Any]) -> dict[Any, Rights]:
    """Return what the rows of users say; those who are not active, or gone, are missing. Synchronous."""
    users = get_user_model()._default_manager.filter(pk__in=user_ids, is_active=True)
    rows = users.values_list("pk", "password", *_flags())
    return {pk: Rights(password, tuple(flags)) for pk, password, *flags in rows}


def read_grants(user_ids: Collection[Any]) -> dict[Any, Grants]:
    """Return the groups and permissions of users; those without any are missing. Synchronous."""
    user_model: Any = get_user_model()
    if not issubclass(user_model, PermissionsMixin):
        return {}
    users = user_model._default_manager.filter(pk__in=user_ids)
    memberships = list(users.filter(groups__isnull=False).values_list("pk", "groups"))
    own = users.filter(user_permissions__isnull=False).values_list("pk", "user_permissions")
    by_group: dict[Any, set[tuple[str, Any]]] = {group: {("group", group)} for _, group in memberships}
    for group, permission in Group.permissions.through.objects.filter(group__in=by_group).values_list(
        "group", "permission"
    ):
        by_group[group].add(("permission", permission))
    grants: dict[Any, set[tuple[str, Any]]] = {}
    for user_id, group in memberships:
        grants.setdefault(user_id, set()).update(by_group[group])
    for user_id, permission in own:
        grants.setdefault(user_id, set()).add(("permission", permission))
    return {user_id: frozenset(found) for user_id, found in grants.items()}


@functools.cache
def _flags() -> list[str]:
    """Names of the flags that the user model has."""
    fields = {field.name for field in get_user_model()._meta.concrete_fields}
    return [flag for flag in ("is_staff", "is_superuser") if flag in fields]
