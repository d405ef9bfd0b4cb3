"""The pages of the rooms."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from realtime.engine.close import close_codes
from realtime.rooms.limits import limits
from realtime.rooms.models import SLUG, Room
from realtime.rooms.permissions import Action, RoomFacts, decide, may_create, standing_of, visible_rooms

__all__ = ["room", "rooms"]

#: Rooms that one page lists.
MAX_LISTED = 200


@require_safe
def rooms(request: HttpRequest) -> HttpResponse:
    """List the rooms that somebody may enter; ``?name=`` leads to one by its name."""
    name = request.GET.get("name", "")
    if SLUG.fullmatch(name):
        return redirect("room", name)
    context = {
        "rooms": visible_rooms(request.user).filter(is_archived=False)[:MAX_LISTED],
        "may_create": may_create(request.user),
    }
    return render(request, "rooms/rooms.html", context)


@require_safe
def room(request: HttpRequest, slug: str) -> HttpResponse:
    """Show a room to chat in; who may only read is offered the login, and who may not even read gets 404.

    Args:
        request: the request.
        slug: the room's name.
    """
    refusal = _refusal_to_write(request, slug)
    context = {
        "room": slug,
        "may_write": refusal is None,
        "refusal": refusal,
        "login_url": f"{reverse('login')}?{urlencode({'next': request.path})}",
        "max_length": limits().content_length,
        "data": {
            "room": slug,
            "me": request.user.get_username() if request.user.is_authenticated else None,
            "url": "/ws/rooms",
            "ticketUrl": reverse("ws-ticket"),
            "closeCodes": close_codes(),
        },
    }
    return render(request, "rooms/room.html", context)


def _refusal_to_write(request: HttpRequest, slug: str) -> str | None:
    """Return why somebody may only read in a room, None where they may write.

    Raises:
        Http404: for a room that they may not see, or that does not exist and that they may not make.
    """
    known = Room.objects.filter(slug=slug).first() if SLUG.fullmatch(slug) else None
    if known is None:
        if SLUG.fullmatch(slug) is None or not may_create(request.user):
            raise Http404(f"There is no room {slug[:80]!r}.")
        return None
    standing = standing_of(request.user, known)
    if decide(standing, RoomFacts.of(known), Action.READ) is not None:
        raise Http404(f"There is no room {slug[:80]!r}.")
    refusal = decide(standing, RoomFacts.of(known), Action.POST)
    return None if refusal is None else refusal.detail
