"""The pages of the rooms, and ``/api/rooms/``: the same rules over HTTP as on the socket."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, status
from rest_framework.exceptions import NotFound, Throttled, ValidationError
from rest_framework.exceptions import PermissionDenied as Forbidden
from rest_framework.permissions import SAFE_METHODS, AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import ScopedRateThrottle

from realtime.engine import AnonymousCookie, close_codes, limit_cache, network_of, request_address
from realtime.engine.rest.pagination import CheckedCursorPagination
from realtime.rooms.limits import MAX_PAGE, limits
from realtime.rooms.models import SLUG, Membership, Role, Room, RoomMessage
from realtime.rooms.permissions import (
    Action,
    Person,
    Refusal,
    may_create,
    refusal_for,
    unknown_room,
    visible_rooms,
)
from realtime.rooms.serializers import MembershipSerializer, MessageSerializer, RoomSerializer
from realtime.rooms.services import create_room, post_message

Outcome = TypeVar("Outcome")

#: Rooms on the page of rooms.
MAX_LISTED = 200

_EXCEPTIONS = {"unknown_room": NotFound, "forbidden": Forbidden, "not_joined": Forbidden}


@require_safe
def rooms(request: HttpRequest) -> HttpResponse:
    """List the rooms that the user may enter; ``?name=`` leads to one by its name."""
    name = request.GET.get("name", "")
    if SLUG.fullmatch(name):
        return redirect("room", name)
    context = {
        "rooms": visible_rooms(request.user).filter(is_archived=False)[:MAX_LISTED],
        "may_create": may_create(request.user),
    }
    return render(request, "rooms/rooms.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def room(request: HttpRequest, slug: str) -> HttpResponse:
    """Show a room to chat in, or why not: 404 to a user who may not know of it, 403 to one who is banned.

    A user who may only read is offered the login. A room that does not exist is made by a form that is sent here.
    """
    found = Room.objects.filter(slug=slug).first()
    if found is None:
        return _make_room(request, slug)
    refusal = refusal_for(request.user, found, Action.READ)
    if refusal is not None:
        raise Http404(refusal.detail) if refusal.code == "unknown_room" else PermissionDenied(_(refusal.detail))
    refusal = refusal_for(request.user, found, Action.POST)
    cookie = AnonymousCookie(request)
    context = {
        "room": found,
        "refusal": refusal and _(refusal.detail),
        "login_url": f"{reverse('login')}?{urlencode({'next': request.path})}",
        "max_length": limits().content_length,
        "data": {
            "room": slug,
            "me": Person.of(request.user, cookie.identity).name,
            "isAnonymous": not request.user.is_authenticated,
            "url": "/ws/rooms",
            "ticketUrl": reverse("ws-ticket"),
            "closeCodes": close_codes(),
        },
    }
    response = render(request, "rooms/room.html", context)
    if not request.user.is_authenticated:
        cookie.renew(response)
    return response


def _make_room(request: HttpRequest, slug: str) -> HttpResponse:
    """Ask before a room is made, and make it; 404 to those who may not."""
    user = request.user
    if not SLUG.fullmatch(slug) or not may_create(user):
        raise Http404(unknown_room(slug).detail)
    if request.method != "POST":
        return render(request, "rooms/create.html", {"room": slug})
    address = network_of(request_address(request) or "")
    created = create_room(user, address, slug, anonymous_may_post=not user.is_authenticated)
    if isinstance(created, Refusal):
        return render(request, "rooms/create.html", {"room": slug, "is_over_quota": True}, status=429)
    return redirect("room", slug)


class MessagePagination(CheckedCursorPagination):
    """Pages of messages, newest first. The cursor is a ``seq``: pages do not move when messages come."""

    position = re.compile(r"[0-9]{1,18}")
    ordering = "-seq"
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = MAX_PAGE


class RoomPagination(CheckedCursorPagination):
    """Pages of rooms by name."""

    position = SLUG
    ordering = "slug"
    page_size = 50


class RoomThrottle(ScopedRateThrottle):
    """Counts requests in the cache of all limits, and anonymous ones by network."""

    cache = limit_cache

    def get_ident(self, request: Request) -> str:
        return network_of(request_address(request) or "")


class RoomAPIView(generics.GenericAPIView[Any]):
    """Finds the room of the address, and refuses what ``permissions`` refuses.

    REST framework's permission classes are open: an anonymous user may read and write where a room lets them.
    """

    permission_classes = (AllowAny,)
    throttle_classes = (RoomThrottle,)
    throttle_scope = "rooms"

    def room_for(self, action: Action) -> Room:
        """Return the room, if the user may do ``action`` there.

        Raises:
            NotFound: if there is no such room, or the user may not see it.
            PermissionDenied: if the user may see it, and not do this.
        """
        slug = self.kwargs["room"]
        found = Room.objects.filter(slug=slug).first()
        if found is None:
            raise NotFound(unknown_room(slug).detail)
        _granted(refusal_for(self.request.user, found, action))
        return found


@extend_schema_view(get=extend_schema(summary="List rooms"), post=extend_schema(summary="Make a room"))
class RoomList(RoomAPIView, generics.ListCreateAPIView[Room]):
    """List the rooms that the user may enter; create one within the rules and the quota of the site."""

    serializer_class = RoomSerializer
    pagination_class = RoomPagination

    def get_queryset(self) -> Any:
        return visible_rooms(self.request.user)

    def perform_create(self, serializer: Any) -> None:
        """Create a room; a signed-in user becomes its moderator."""
        user = self.request.user
        if not may_create(user):
            raise Forbidden("You may not create rooms.")
        address = network_of(request_address(self.request) or "")
        serializer.instance, is_new = _granted(create_room(user, address, **serializer.validated_data))
        if not is_new:
            raise ValidationError({"room": ["This name is taken."]})


@extend_schema_view(get=extend_schema(summary="Show a room"), patch=extend_schema(summary="Change a room"))
class RoomView(RoomAPIView, generics.RetrieveUpdateAPIView[Room]):
    """Show a room; its moderators may change it."""

    serializer_class = RoomSerializer
    http_method_names = ("get", "patch", "head", "options")

    def get_object(self) -> Room:
        return self.room_for(Action.READ if self.request.method in SAFE_METHODS else Action.MODERATE)


@extend_schema_view(
    get=extend_schema(summary="List the messages of a room, newest first"),
    post=extend_schema(summary="Post a message", responses={200: MessageSerializer, 201: MessageSerializer}),
)
class MessageList(RoomAPIView, generics.ListCreateAPIView[RoomMessage]):
    """List a room's messages, newest first; post one, which reaches the connected members."""

    serializer_class = MessageSerializer
    pagination_class = MessagePagination

    def get_queryset(self) -> Any:
        found = self.room_for(Action.READ)
        return RoomMessage.objects.filter(room=found, is_hidden=False).select_related("room")

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Store a message and publish it; a repeated ``ref`` answers with the message that is there."""
        found = self.room_for(Action.POST)
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        stored = _granted(post_message(found, request.user, **serializer.validated_data))
        row = RoomMessage.objects.select_related("room").get(room=found, seq=stored.seq)
        code = status.HTTP_200_OK if stored.is_repeat else status.HTTP_201_CREATED
        return Response(self.get_serializer(row).data, status=code)


@extend_schema_view(get=extend_schema(summary="List memberships"), post=extend_schema(summary="Give a user a role"))
class MembershipList(RoomAPIView, generics.ListCreateAPIView[Membership]):
    """List a room's memberships; moderators add, promote and ban by posting a user and a role."""

    serializer_class = MembershipSerializer
    pagination_class = None

    def get_queryset(self) -> Any:
        return Membership.objects.filter(room=self.room_for(Action.MODERATE)).select_related("user")

    def perform_create(self, serializer: Any) -> None:
        """Give a user a role, or another one than before."""
        data = serializer.validated_data
        serializer.instance, _ = Membership.objects.update_or_create(
            room=self.room_for(Action.MODERATE),
            user=data["user"],
            defaults={"role": data.get("role", Role.MEMBER)},
        )


class MembershipView(RoomAPIView, generics.DestroyAPIView[Membership]):
    """Remove a user from a room, which ends delivery to that user at once; users may remove themselves."""

    serializer_class = MembershipSerializer

    def get_object(self) -> Membership:
        """Return the membership, for the user it belongs to and for moderators."""
        login = self.kwargs["user"]
        is_own = self.request.user.is_authenticated and self.request.user.get_username() == login
        found = self.room_for(Action.READ if is_own else Action.MODERATE)
        return get_object_or_404(Membership, room=found, **{f"user__{get_user_model().USERNAME_FIELD}": login})


def _granted(outcome: Outcome | Refusal) -> Outcome:
    """Return what is no refusal, and raise the exception of REST framework for what is one."""
    if not isinstance(outcome, Refusal):
        return outcome
    if outcome.code == "rate_limited":
        raise Throttled(outcome.retry_after, outcome.detail)
    kind = _EXCEPTIONS.get(outcome.code)
    raise ValidationError({"content": [outcome.detail]}) if kind is None else kind(outcome.detail)
