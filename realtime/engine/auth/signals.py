"""What ends the connections of an account or of a session, and what has their rights decided anew."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, PermissionsMixin
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.dispatch import receiver

from realtime.engine.auth.revocation import access_event, revoke_user, session_event, tell_users
from realtime.engine.auth.sessions import identity_of, mark_session, note_logout
from realtime.engine.connections.models import LiveConnection

__all__: list[str] = []

User = get_user_model()

#: Fields of a user that decide about rights; a hash of the same password that is renewed at login changes the first.
RIGHTS = {"password", "is_staff", "is_superuser", "is_active"}

#: Until a relation is cleared, it can be asked whom that concerns.
CHANGES = {"post_add", "post_remove", "pre_clear"}


@receiver(post_save, sender=User, dispatch_uid="realtime.live.user_saved")
def _user_saved(instance: Any, created: bool, update_fields: frozenset[str] | None, **_: Any) -> None:
    if created:
        return
    if not instance.is_active and (update_fields is None or "is_active" in update_fields):
        revoke_user(instance.pk, "the account was deactivated")
    elif _has_new_password(instance):
        revoke_user(instance.pk, "the password was changed")
    elif update_fields is None or not RIGHTS.isdisjoint(update_fields):
        tell_users([instance.pk], access_event())


@receiver(post_delete, sender=User, dispatch_uid="realtime.live.user_deleted")
def _user_deleted(instance: Any, **_: Any) -> None:
    revoke_user(instance.pk, "the account was deleted")


@receiver(user_logged_in, dispatch_uid="realtime.live.logged_in")
def _logged_in(request: Any, **_: Any) -> None:
    mark_session(request.session)


@receiver(user_logged_out, dispatch_uid="realtime.live.logged_out")
def _logged_out(request: Any, user: Any, **_: Any) -> None:
    if user is not None:
        note_logout(request.session)
        tell_users([user.pk], session_event(identity_of(request.session)))


def _relations_of_user_changed(instance: Any, action: str, reverse: bool, pk_set: set[Any] | None, **_: Any) -> None:
    """Groups or permissions of one user have changed, or, in reverse, the users of one group or permission."""
    if action not in CHANGES:
        return
    if not reverse:
        tell_users([instance.pk], access_event())
    elif pk_set is None:
        _tell_connected(pk__in=instance.user_set.all())
    else:
        _tell_connected(pk__in=pk_set)


def _permissions_of_groups_changed(
    instance: Any, action: str, reverse: bool, pk_set: set[Any] | None, **_: Any
) -> None:
    if action not in CHANGES:
        return
    if not reverse:
        _tell_connected(groups=instance.pk)
    else:
        _tell_connected(groups__in=instance.group_set.all() if pk_set is None else pk_set)


if issubclass(User, PermissionsMixin):
    for relation in (User.groups, User.user_permissions):
        m2m_changed.connect(
            _relations_of_user_changed, sender=relation.through, dispatch_uid=f"realtime.live.{relation.field.name}"
        )
    m2m_changed.connect(
        _permissions_of_groups_changed, sender=Group.permissions.through, dispatch_uid="realtime.live.permissions"
    )


def _tell_connected(**which: Any) -> None:
    """Have the rights of those users decided anew who have a connection; there may be many without one."""
    users = User._default_manager.filter(**which).filter(pk__in=LiveConnection.objects.values("user"))
    tell_users(list(users.values_list("pk", flat=True)), access_event())


def _has_new_password(user: Any) -> bool:
    """Tell whether ``set_password()`` was called before this save.

    Django keeps the raw password until the save for its validators. A hash that is renewed at login does not count.
    """
    return getattr(user, "_password", None) is not None
