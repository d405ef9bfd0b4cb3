"""Users in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin

from realtime.accounts.models import User
from realtime.engine import LiveUserMixin


@admin.register(User)
class UserAdmin(LiveUserMixin, DjangoUserAdmin):
    """Django's own, with who is online and the actions that end what a user has open."""

    list_display = (*DjangoUserAdmin.list_display, "is_active", "online")  # type: ignore[misc]  # generic
