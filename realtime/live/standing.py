"""Finds the connections of a process whose user was revoked, or has other rights than before.

Events tell of most changes at once. This look finds the others: those whose event was lost, and those that no
signal of Django tells of, such as ``QuerySet.update()`` and SQL. Synchronous.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth import get_user_model

from realtime.auth.revocation import access_event, revocation_event
from realtime.auth.rights import Grants, read_grants, rights_of
from realtime.live.models import Revocation
from realtime.live.registry import Connection

__all__ = ["Standing", "read_standing"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database says about the users of some connections.

    Args:
        users: the active users by primary key.
        revocations: the last revocation of each user who had one.
        grants: groups and permissions; a user without any is missing.
    """

    users: Mapping[Any, Any] = field(default_factory=dict)
    revocations: Mapping[Any, Revocation] = field(default_factory=dict)
    grants: Mapping[Any, Grants] = field(default_factory=dict)

    def event_for(self, connection: Connection, before: Standing) -> dict[str, Any] | None:
        """Return what a connection has to be told, None for nothing.

        Args:
            connection: the connection.
            before: the look before this one.
        """
        if connection.user_id is None:
            return None
        user, revocation = self.users.get(connection.user_id), self.revocations.get(connection.user_id)
        if revocation is not None and connection.generation < revocation.generation:
            return revocation_event(revocation.reason)  # which knows why the account is not active
        if user is None:
            return revocation_event("the account is not active")
        if connection.rights is not None and connection.rights.password != rights_of(user).password:
            return revocation_event("the password was changed")
        return access_event() if self._has_other_rights(connection, user, before) else None

    def _has_other_rights(self, connection: Connection, user: Any, before: Standing) -> bool:
        if connection.rights is not None and connection.rights != rights_of(user):
            return True
        was_looked_at = user.pk in before.users
        return was_looked_at and self.grants.get(user.pk) != before.grants.get(user.pk)


def read_standing(user_ids: Collection[Any]) -> Standing:
    """Return what the database says about some users."""
    if not user_ids:
        return Standing()
    return Standing(
        # Before the revocations, so that for an account that is gone there is the reason.
        users={user.pk: user for user in get_user_model()._default_manager.filter(pk__in=user_ids, is_active=True)},
        revocations=Revocation.objects.in_bulk(user_ids),
        grants=read_grants(user_ids),
    )
