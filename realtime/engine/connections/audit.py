"""Closes connections of this process that have lost their right, and has those decide again whose rights have changed.

Events report most changes at once. The audit finds the others: those whose event was lost, and those that no signal
of Django reports, such as ``QuerySet.update()`` and SQL.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, PermissionsMixin

from realtime.engine.auth.models import Revocation
from realtime.engine.auth.revocation import access_event, revocation_event, send_event, session_event
from realtime.engine.auth.sessions import ended_sessions
from realtime.engine.connections.records import Connection, rights_of
from realtime.engine.services.database import DatabaseThreads

#: A user's groups, each with its permissions, and the user's own permissions.
Grants = dict[Any, set[Any]]


class Audit:
    """Compares connections with the database, and with what the audit before found there."""

    def __init__(self) -> None:
        self._grants: dict[str, Grants] = {}

    async def run(self, connections: Collection[Connection], threads: DatabaseThreads) -> None:
        """Send each connection of a user the event for what has changed. Its consumer closes it, or decides again."""
        sessions = {each.session for each in connections if each.session is not None}
        ids = {str(each.user_id) for each in connections} | {session.user_id for session in sessions}
        before = self._grants
        users, revocations, self._grants = await threads.run(_read, ids)
        for each in connections:
            key = str(each.user_id)
            has_other_grants = before.get(key, self._grants[key]) != self._grants[key]
            event = _event_for(each, users.get(key), revocations.get(key), has_other_grants)
            if event is not None:
                await send_event(each.channel, event)
        ended = await threads.run(ended_sessions, {session: users.get(session.user_id) for session in sessions})
        for each in connections:
            if each.session is not None and each.session in ended:
                await send_event(each.channel, session_event(each.session.identity))


def _event_for(
    connection: Connection, user: Any, revocation: Revocation | None, has_other_grants: bool
) -> dict[str, Any] | None:
    if revocation is not None and connection.generation < revocation.generation:
        return revocation_event(revocation.reason)  # more exact than "not active"
    if user is None or not user.is_active:
        return revocation_event("the account is not active")
    opened_with, rights = connection.rights, rights_of(user)
    if opened_with is not None and opened_with[0] != rights[0]:
        return revocation_event("the password was changed")
    return access_event() if has_other_grants or opened_with not in (None, rights) else None


def _read(ids: Collection[Any]) -> tuple[dict[str, Any], dict[str, Revocation], dict[str, Grants]]:
    """Return the database's state of some users."""
    # The rows before the revocations: for an account that is gone there is the reason then.
    users = {str(user.pk): user for user in get_user_model()._default_manager.filter(pk__in=ids)}
    revocations = {str(found.pk): found for found in Revocation.objects.filter(pk__in=ids)}
    return users, revocations, _read_grants(ids)


def _read_grants(ids: Collection[str]) -> dict[str, Grants]:
    grants: dict[str, Grants] = {key: {} for key in ids}
    user_model: Any = get_user_model()
    if not issubclass(user_model, PermissionsMixin):
        return grants
    users = user_model._default_manager.filter(pk__in=ids)
    memberships = list(users.filter(groups__isnull=False).values_list("pk", "groups"))
    permissions = Group.permissions.through.objects.filter(group__in={group for _, group in memberships})
    of_groups: Grants = defaultdict(set)
    for group, permission in permissions.values_list("group", "permission"):
        of_groups[group].add(permission)
    for user_id, group in memberships:
        grants[str(user_id)][group] = of_groups[group]
    for user_id, permission in users.filter(user_permissions__isnull=False).values_list("pk", "user_permissions"):
        grants[str(user_id)].setdefault("own", set()).add(permission)
    return grants
