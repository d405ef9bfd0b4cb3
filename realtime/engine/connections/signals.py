"""Changes of accounts, groups and permissions, and logouts, reach the connections that they concern."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, PermissionsMixin
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.dispatch import receiver

from realtime.engine.auth.revocation import access_event, notify_users, revoke_user, session_event
from realtime.engine.auth.sessions import identity_of, mark_session, note_logout
from realtime.engine.connections.models import LiveConnection

User = get_user_model()

#: Fields of a user that decide about rights. The password is one: login may renew the hash of the same password.
RIGHTS = {"password", "is_staff", "is_superuser", "is_active"}

#: The relations that decide about permissions. Of each, the lookup that finds the users by those whose relation it is,
#: and the attribute of the other side that has those.
RELATIONS: dict[Any, tuple[str, str]] = {}
if issubclass(User, PermissionsMixin):
    RELATIONS[User.groups.through] = RELATIONS[User.user_permissions.through] = ("pk__in", "user_set")
    RELATIONS[Group.permissions.through] = ("groups__in", "group_set")

#: Before a relation is cleared, its users can still be found.
CHANGES = {"post_add", "post_remove", "pre_clear"}


@receiver(post_save, sender=User, dispatch_uid="realtime.auth.user_saved")
def _user_saved(instance: Any, created: bool, update_fields: frozenset[str] | None, **_: Any) -> None:
    if created:
        return
    if not instance.is_active and (update_fields is None or "is_active" in update_fields):
        revoke_user(instance.pk, "the account was deactivated")
    # Django keeps the raw password until the save for its validators. A hash that login renews has none.
    elif getattr(instance, "_password", None) is not None:
        revoke_user(instance.pk, "the password was changed")
    elif update_fields is None or not RIGHTS.isdisjoint(update_fields):
        notify_users([instance.pk], access_event())


@receiver(post_delete, sender=User, dispatch_uid="realtime.auth.user_deleted")
def _user_deleted(instance: Any, **_: Any) -> None:
    revoke_user(instance.pk, "the account was deleted")


@receiver(user_logged_in, dispatch_uid="realtime.auth.logged_in")
def _logged_in(request: Any, **_: Any) -> None:
    mark_session(request.session)


@receiver(user_logged_out, dispatch_uid="realtime.auth.logged_out")
def _logged_out(request: Any, user: Any, **_: Any) -> None:
    if user is not None:
        note_logout(request.session)
        notify_users([user.pk], session_event(identity_of(request.session)))


@receiver(m2m_changed, dispatch_uid="realtime.connections.permissions_changed")
def _permissions_changed(
    sender: Any, instance: Any, action: str, reverse: bool, pk_set: set[Any] | None, **_: Any
) -> None:
    if sender not in RELATIONS or action not in CHANGES:
        return
    if isinstance(instance, User):
        users = [instance.pk]
    else:
        affected, owners = RELATIONS[sender]
        found = [instance.pk] if not reverse else pk_set or getattr(instance, owners).values("pk")
        # There may be many without a connection.
        connected = User._default_manager.filter(pk__in=LiveConnection.objects.values("user"))
        users = list(connected.filter(**{affected: found}).values_list("pk", flat=True))
    notify_users(users, access_event())
