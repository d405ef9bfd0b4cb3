"""Changes of an account that end its connections."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from realtime.auth.revocation import revoke_user

__all__: list[str] = []

User = get_user_model()


@receiver(post_save, sender=User, dispatch_uid="realtime.live.user_saved")
def _user_saved(instance: Any, created: bool, update_fields: frozenset[str] | None, **_: Any) -> None:
    if created:
        return
    if not instance.is_active and (update_fields is None or "is_active" in update_fields):
        revoke_user(instance.pk, "the account was deactivated")
    elif _has_new_password(instance):
        revoke_user(instance.pk, "the password was changed")


@receiver(post_delete, sender=User, dispatch_uid="realtime.live.user_deleted")
def _user_deleted(instance: Any, **_: Any) -> None:
    revoke_user(instance.pk, "the account was deleted")


def _has_new_password(user: Any) -> bool:
    """Tell whether ``set_password()`` was called before this save.

    Django keeps the raw password until the save for its validators. A hash that is renewed at login does not count.
    """
    return getattr(user, "_password", None) is not None
