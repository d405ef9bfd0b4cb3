"""Finds the connections of a process whose user was revoked, or has other rights than before.

Events tell of most changes at once. This look finds the others: those whose event was lost, and those that no
signal of Django tells of, such as ``QuerySet.update()`` and SQL. Synchronous.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from realtime.engine.auth.revocation import access_event, revocation_event
from realtime.engine.auth.rights import Grants, read_grants, read_rights
from realtime.engine.connections.models import Revocation
from realtime.engine.connections.registry import Connection, Rights

__all__ = ["Standing", "read_standing"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database says about the users of some connections.

    Args:
        rights: what the rows of the active users say.
        revocations: the last revocation of each user who had one.
        grants: groups and permissions; a user without any is missing.
    """

    rights: Mapping[Any, Rights] = field(default_factory=dict)
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
        rights, revocation = self.rights.get(connection.user_id), self.revocations.get(connection.user_id)
        if revocation is not None and connection.generation < revocation.generation:
            return revocation_event(revocation.reason)  # which knows why the account is not active
        if rights is None:
            return revocation_event("the account is not active")
        if connection.rights is not None and connection.rights.password != rights.password:
            return revocation_event("the password was changed")
        has_other_flags = connection.rights is not None and connection.rights != rights
        return access_event() if has_other_flags or self._has_other_grants(connection.user_id, before) else None

    def _has_other_grants(self, user_id: Any, before: Standing) -> bool:
        was_looked_at = user_id in before.rights
        return was_looked_at and self.grants.get(user_id) != before.grants.get(user_id)


def read_standing(user_ids: Collection[Any]) -> Standing:
    """Return what the database says about some users."""
    if not user_ids:
        return Standing()
    return Standing(
        # Before the revocations, so that for an account that is gone there is the reason.
        rights=read_rights(user_ids),
        revocations=Revocation.objects.in_bulk(user_ids),
        grants=read_grants(user_ids),
    )
