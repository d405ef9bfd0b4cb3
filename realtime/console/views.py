"""The pages: a console for each endpoint at ``/``, the reference at ``/api/docs/``, and the live page of the admin."""

from __future__ import annotations

from typing import Any

import msgspec
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from realtime.console.examples import console_data
from realtime.console.monitor import VIEW_PERMISSION, overview
from realtime.engine import close_codes
from realtime.engine.auth.tickets import LIFETIME
from realtime.engine.describe.endpoints import Endpoint, describe_endpoints, policy_fields
from realtime.engine.describe.scaffold import consumer_source, route_source

User: Any = get_user_model()

#: The fields of a policy that a newcomer meets first, with a short name each.
_FACTS = {
    "max_message_size": _("Message up to"),
    "max_frame_size": _("Frame up to"),
    "max_messages_per_second": _("Messages a second"),
    "subprotocols": _("Subprotocols"),
    "accept_any_subprotocol": _("Any subprotocol"),
    "ping_interval": _("Ping every"),
    "idle_timeout": _("Idle up to"),
}

#: The charts of the live page; the names are fields of ``realtime.console.monitor.Overview``.
_CHARTS = {
    "connections": _("Open connections"),
    "stored": _("Room messages stored a second"),
    "received": _("Messages received a second"),
    "sent": _("Messages sent a second"),
}


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the endpoints, each with a live console."""
    endpoints = describe_endpoints()
    context = {
        "endpoints": [(endpoint, _facts(endpoint)) for endpoint in endpoints],
        "snippets": [consumer_source("shout"), route_source("shout")],
        "login_field": User._meta.get_field(User.USERNAME_FIELD),
        "ticket_url": reverse("ws-ticket"),
        "ticket_seconds": LIFETIME,
        "data": {
            "endpoints": {endpoint.slug: console_data(endpoint) for endpoint in endpoints},
            "closeCodes": close_codes(),
            "loggedIn": request.user.is_authenticated,
        },
    }
    return render(request, "console/home.html", context)


@require_safe
def reference(request: HttpRequest) -> HttpResponse:
    """Show every endpoint with its policy and messages, and every close code."""
    context = {
        "endpoints": describe_endpoints(),
        "policy_fields": policy_fields().items(),
        "close_codes": close_codes(),
    }
    return render(request, "console/reference.html", context)


@require_safe
@permission_required(VIEW_PERMISSION, raise_exception=True)
def live(request: HttpRequest) -> HttpResponse:
    """Show staff who may view connections what is connected now; further numbers come by ``/ws/admin/live``."""
    data = {"closeCodes": close_codes(), "overview": msgspec.to_builtins(overview())}
    context = {**admin.site.each_context(request), "charts": _CHARTS.items(), "data": data}
    return render(request, "admin/live.html", context)


def _facts(endpoint: Endpoint) -> list[tuple[Any, str]]:
    known = [fact for fact in endpoint.facts if fact.field in _FACTS]
    return [(_FACTS[fact.field], fact.value) for fact in known if fact.value not in ("none", "no")]
