"""What a user may do, in a form that an audit compares with what it was when a connection was opened.

Events report most changes at once. The comparison finds the others: those whose event was lost, and those that no
signal of Django reports, such as ``QuerySet.update()`` and SQL. Synchronous.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, PermissionsMixin

from realtime.engine.auth.models import Revocation
from realtime.engine.auth.revocation import access_event, revocation_event

__all__ = ["Rights", "Standing", "read_standing", "rights_of"]

#: Permissions of a user, and pairs of a group and its permissions.
Grants = frozenset[Any]


class Rights(NamedTuple):
    """A user's row when it was read."""

    password: str
    """The hash, as Django stores it; it never leaves the process."""
    flags: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """The database's state of some users; what a user does not have is missing."""

    rights: Mapping[Any, Rights] = field(default_factory=dict)
    revocations: Mapping[Any, Revocation] = field(default_factory=dict)
    grants: Mapping[Any, Grants] = field(default_factory=dict)

    def event_for(
        self, user_id: Any, generation: int, opened_with: Rights | None, before: Standing
    ) -> dict[str, Any] | None:
        """Return the event that a connection of a user must get, None for none.

        Args:
            user_id: primary key of the user.
            generation: the user's generation when the connection was opened.
            opened_with: the user's rights then.
            before: what the audit before this one read.
        """
        rights, revocation = self.rights.get(user_id), self.revocations.get(user_id)
        if revocation is not None and generation < revocation.generation:
            return revocation_event(revocation.reason)  # more exact than "not active"
        if rights is None:
            return revocation_event("the account is not active")
        if opened_with is not None and opened_with.password != rights.password:
            return revocation_event("the password was changed")
        has_other_flags = opened_with is not None and opened_with != rights
        has_other_grants = user_id in before.rights and self.grants.get(user_id) != before.grants.get(user_id)
        return access_event() if has_other_flags or has_other_grants else None


def rights_of(user: Any) -> Rights:
    """Return the rights in the row of a user."""
    return Rights(user.password, tuple(getattr(user, flag) for flag in _flags()))


def read_standing(user_ids: Collection[Any]) -> Standing:
    """Return the database's state of some users."""
    if not user_ids:
        return Standing()
    # The rows before the revocations: for an account that is gone there is the reason then.
    users = get_user_model()._default_manager.filter(pk__in=user_ids, is_active=True)
    rows = users.values_list("pk", "password", *_flags())
    rights = {pk: Rights(password, tuple(flags)) for pk, password, *flags in rows}
    return Standing(rights, Revocation.objects.in_bulk(user_ids), _read_grants(user_ids))


def _read_grants(user_ids: Collection[Any]) -> dict[Any, Grants]:
    user_model: Any = get_user_model()
    if not issubclass(user_model, PermissionsMixin):
        return {}
    users = user_model._default_manager.filter(pk__in=user_ids)
    memberships = list(users.filter(groups__isnull=False).values_list("pk", "groups"))
    permissions = Group.permissions.through.objects.filter(group__in={group for _, group in memberships})
    of_groups: dict[Any, set[Any]] = defaultdict(set)
    for group, permission in permissions.values_list("group", "permission"):
        of_groups[group].add(permission)
    frozen = {group: frozenset(found) for group, found in of_groups.items()}
    grants: dict[Any, set[Any]] = defaultdict(set)
    for user_id, group in memberships:
        grants[user_id].add((group, frozen.get(group)))
    for user_id, permission in users.filter(user_permissions__isnull=False).values_list("pk", "user_permissions"):
        grants[user_id].add(permission)
    return {user_id: frozenset(found) for user_id, found in grants.items()}


@functools.cache
def _flags() -> list[str]:
    fields = {field.name for field in get_user_model()._meta.concrete_fields}
    return [flag for flag in ("is_staff", "is_superuser") if flag in fields]
