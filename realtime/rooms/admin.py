"""Rooms, memberships and messages in the admin. Changes reach the connected members at once.

List pages cost the same number of queries for any number of rows: counts come from the rooms' own counters.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from realtime.engine.topics.presence import read_presence
from realtime.rooms.models import Membership, Room, RoomMessage, topic_of
from realtime.rooms.permissions import Refusal
from realtime.rooms.services import close_room, post_message, set_hidden

#: Characters of a message that a list shows.
EXCERPT = 80


class AnnouncementForm(forms.Form):
    """The text of an announcement; ``post_message()`` checks it."""

    content = forms.CharField(widget=forms.Textarea, label=_("Text"))


class MembershipInline(admin.TabularInline):
    """The memberships of a room."""

    model = Membership
    extra = 0
    autocomplete_fields = ("user",)
    readonly_fields = ("since",)


@admin.register(Room)
class RoomAdmin(admin.ModelAdmin):
    """Rooms, who is there, and what can be done with them."""

    list_display = ("slug", "title", "is_public", "is_archived", "message_count", "online")
    list_filter = ("is_public", "is_archived")
    search_fields = ("slug", "title")
    readonly_fields = ("slug", "epoch", "created_by", "created_at", "message_count", "who_is_online")
    inlines = (MembershipInline,)
    actions = ("archive", "reopen", "close", "announce")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Room]:
        """Count who is online, each user once."""
        return Room.objects.with_presence().order_by(*self.get_ordering(request))

    def get_readonly_fields(self, request: HttpRequest, obj: Room | None = None) -> Any:
        """Keep the name of a room that exists: clients use it. A new one has nothing else to show."""
        return () if obj is None else self.readonly_fields

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Summarise a room by its counter; listing its messages one by one would take minutes."""
        rooms = list(objs)
        count = sum(room.last_seq for room in rooms)
        summary = [
            gettext("%(room)s, with its %(count)s messages") % {"room": room.slug, "count": room.last_seq}
            for room in rooms
        ]
        return summary, {"rooms": len(rooms), "messages": count}, set(), []

    @admin.display(description=_("messages"), ordering="last_seq")
    def message_count(self, room: Room) -> SafeString:
        """Return the number of messages, as a link to them."""
        address = reverse("admin:rooms_roommessage_changelist")
        return format_html('<a href="{}?room__id__exact={}">{}</a>', address, room.pk, room.last_seq)

    @admin.display(description=_("online"), ordering="users")
    def online(self, room: Any) -> int:
        return int(room.users)

    @admin.display(description=_("online now"))
    def who_is_online(self, room: Room) -> str:
        _, present = read_presence(topic_of(room.slug))
        return ", ".join(sorted({user.metadata["name"] for user in present.values()})) or gettext("nobody")

    @admin.action(description=_("Archive: nobody may write any more"), permissions=["change"])
    def archive(self, request: HttpRequest, rooms: QuerySet[Room]) -> None:
        messages.success(request, gettext("Rooms archived: %s.") % rooms.update(is_archived=True))

    @admin.action(description=_("Reopen archived rooms"), permissions=["change"])
    def reopen(self, request: HttpRequest, rooms: QuerySet[Room]) -> None:
        messages.success(request, gettext("Rooms reopened: %s.") % rooms.update(is_archived=False))

    @admin.action(description=_("Close: archive, and put everybody out"), permissions=["change"])
    def close(self, request: HttpRequest, rooms: QuerySet[Room]) -> None:
        """Archive rooms and end every connection's stay in them."""
        for room in rooms:
            close_room(room)
        messages.success(request, gettext("Rooms closed: %s.") % len(rooms))

    @admin.action(description=_("Announce something to the members"), permissions=["change"])
    def announce(self, request: HttpRequest, rooms: QuerySet[Room]) -> HttpResponse | None:
        form = AnnouncementForm(request.POST if "content" in request.POST else None)
        if not form.is_valid():
            context = {**self.admin_site.each_context(request), "form": form, "rooms": rooms, "opts": self.model._meta}
            return TemplateResponse(request, "admin/rooms/announce.html", {**context, "title": gettext("Announce")})
        for room in rooms:
            outcome = post_message(room, request.user, form.cleaned_data["content"])
            if isinstance(outcome, Refusal):
                messages.error(request, f"{room.slug}: {gettext(outcome.detail)}")
            else:
                messages.success(request, gettext("Announced in %s as message %s.") % (room.slug, outcome.seq))
        return None


@admin.register(RoomMessage)
class RoomMessageAdmin(admin.ModelAdmin):
    """Messages: to search, and to hide. They are never changed or deleted, so that numbers stay without holes."""

    list_display = ("room", "seq", "name", "excerpt", "at", "is_hidden")
    list_display_links = ("seq",)
    list_filter = ("is_hidden",)
    list_select_related = ("room",)
    search_fields = ("content", "name", "=room__slug")
    ordering = ("-id",)
    show_full_result_count = False
    fields = ("room", "seq", "name", "author", "at", "is_hidden", "content")
    actions = ("hide", "show")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Messages are announced from the list of rooms."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: RoomMessage | None = None) -> bool:
        """What was said stays as it was said."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: RoomMessage | None = None) -> bool:
        """Messages go with their room only."""
        return False

    def has_hide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("rooms.change_roommessage")

    @admin.display(description=_("content"))
    def excerpt(self, message: RoomMessage) -> str:
        return Truncator(message.content).chars(EXCERPT)

    @admin.action(description=_("Hide from the members"), permissions=["hide"])
    def hide(self, request: HttpRequest, rows: QuerySet[RoomMessage]) -> None:
        messages.success(request, gettext("Hidden: %s.") % set_hidden(rows, hidden=True))

    @admin.action(description=_("Show again"), permissions=["hide"])
    def show(self, request: HttpRequest, rows: QuerySet[RoomMessage]) -> None:
        messages.success(request, gettext("Shown again: %s.") % set_hidden(rows, hidden=False))
