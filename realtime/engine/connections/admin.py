"""Live connections in the admin: to look at, and to end. Users show whether they are online."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from realtime.engine.auth.revocation import disconnect_channel, disconnect_user
from realtime.engine.auth.sessions import log_out_everywhere
from realtime.engine.connections.models import LiveConnection, Process

User = get_user_model()

REASON = "disconnected by staff"


@admin.register(LiveConnection)
class LiveConnectionAdmin(admin.ModelAdmin):
    """The connections of all processes that are alive."""

    list_display = ("endpoint", "user", "address", "process_name", "since")
    list_display_links = None
    list_select_related = ("user",)
    search_fields = ("endpoint", "address", f"user__{User.USERNAME_FIELD}")
    ordering = ("-id",)
    show_full_result_count = False
    actions = ("disconnect",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[LiveConnection]:
        """Leave out connections of processes that have ended, and add the names of processes."""
        mine = Process.alive().filter(pk=OuterRef("process"))
        connections = super().get_queryset(request).filter(process__in=Process.alive().values("pk"))
        return connections.annotate(_host=Subquery(mine.values("host")), _pid=Subquery(mine.values("pid")))

    @admin.display(description=_("process"))
    def process_name(self, connection: Any) -> str:
        return f"{connection._host}:{connection._pid}"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only processes write connections; to delete a row would not end the connection, the action does."""
        return False

    has_change_permission = has_delete_permission = has_add_permission

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("connections.delete_liveconnection")

    @admin.action(description=_("Disconnect (3003)"), permissions=["disconnect"])
    def disconnect(self, request: HttpRequest, connections: QuerySet[LiveConnection]) -> None:
        """Close the selected connections, whichever process they belong to."""
        channels = list(connections.values_list("channel", flat=True))
        for channel in channels:
            disconnect_channel(channel, REASON)
        messages.success(request, gettext("Disconnected: %s.") % len(channels))


class LiveUserMixin(admin.ModelAdmin):
    """For the admin of a user model: who is online, and how to end what a user has open.

    Put it before ``UserAdmin``, and ``"online"`` into ``list_display``.
    """

    actions = ("disconnect", "log_out_everywhere")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Add to each user whether it is online, in the same query."""
        connections = LiveConnection.alive().filter(user=OuterRef("pk"))
        return super().get_queryset(request).annotate(_online=Exists(connections))

    @admin.display(description=_("online"), boolean=True, ordering="_online")
    def online(self, user: Any) -> bool:
        return bool(user._online)

    @admin.action(description=_("Disconnect (they may come back)"), permissions=["change"])
    def disconnect(self, request: HttpRequest, users: QuerySet[Any]) -> None:
        """Close every connection of the selected users."""
        for user in users:
            disconnect_user(user.pk, REASON)
        messages.success(request, gettext("Disconnected: %s.") % ", ".join(user.get_username() for user in users))

    @admin.action(description=_("Log out everywhere (connections, tokens and sessions end)"), permissions=["change"])
    def log_out_everywhere(self, request: HttpRequest, users: QuerySet[Any]) -> None:
        """Close every connection of the selected users, refuse the tokens that they have, and delete their sessions."""
        for user in users:
            log_out_everywhere(user.pk)
        messages.success(request, gettext("Logged out: %s.") % ", ".join(user.get_username() for user in users))
