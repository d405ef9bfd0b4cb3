"""Users in the admin. Django's own names the field ``username`` in each of these lists."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin

from realtime.engine import LiveUserMixin
from tests.email_login.models import User


@admin.register(User)
class UserAdmin(LiveUserMixin, DjangoUserAdmin):
    """Users by their email address, with who is online and the actions that end what a user has open."""

    list_display = ("email", "is_staff", "is_active", "online")
    search_fields = ("email",)
    ordering = ("email",)
    readonly_fields = ("date_joined", "last_login")
    fieldsets = (
        (None, {"fields": ("email", "password")}),
        ("Permissions", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Important dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"classes": ("wide",), "fields": ("email", "usable_password", "password1", "password2")}),)
