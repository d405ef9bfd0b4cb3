"""The pages that people see: a console for each endpoint at ``/``, and the live page of the admin."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import Resolver404, resolve, reverse
from django.views.decorators.http import require_safe

from realtime.console.examples import presets_for
from realtime.console.monitor import announcement_length
from realtime.engine import close_codes
from realtime.engine.auth.tickets import LIFETIME
from realtime.engine.describe.endpoints import Endpoint, describe_endpoints, policy_facts
from realtime.engine.describe.scaffold import consumer_source, route_source
from realtime.engine.describe.schemas import describe_messages

__all__ = ["home", "live"]

#: The fields of a policy that a newcomer meets first, with a short name each.
_FACTS = {
    "max_message_size": "Message up to",
    "max_frame_size": "Frame up to",
    "max_messages_per_second": "Messages a second",
    "subprotocols": "Subprotocols",
    "ping_interval": "Ping every",
    "idle_timeout": "Idle up to",
}

#: The charts of the live page; the names are fields of ``realtime.console.monitor.Overview``.
_CHARTS = {
    "connections": "Open connections",
    "stored": "Room messages stored a second",
    "received": "Messages received a second",
    "sent": "Messages sent a second",
}

#: What the foot of the page points at, where this project serves it.
_LINKS = (
    ("/api/docs/", "every endpoint, message and close code"),
    ("/asyncapi.json", "the same as AsyncAPI 3"),
    ("/api/schema/", "the HTTP API as OpenAPI"),
    ("/admin/", "users, rooms and messages"),
    ("/admin/live/", "what is connected now, for staff"),
    ("/healthz", "is the process alive"),
    ("/readyz", "can it serve: database, channel layer, draining"),
    ("/metrics", "for Prometheus"),
)


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the endpoints, each with a live console."""
    endpoints = describe_endpoints()
    context = {
        "endpoints": [_for_template(endpoint) for endpoint in endpoints],
        "snippets": [consumer_source("shout"), route_source("shout")],
        "links": [{"url": url, "name": url, "text": text} for url, text in _LINKS if _is_served(url)],
        "ticket_url": reverse("ws-ticket"),
        "ticket_seconds": LIFETIME,
        "data": {
            "endpoints": {endpoint.slug: _for_script(endpoint) for endpoint in endpoints},
            "closeCodes": close_codes(),
            "loggedIn": request.user.is_authenticated,
        },
    }
    return render(request, "console/home.html", context)


@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """Show staff what is connected now; the numbers come by ``/ws/admin/live``."""
    context = {
        **admin.site.each_context(request),
        "charts": [{"name": name, "label": label} for name, label in _CHARTS.items()],
        "max_length": announcement_length(),
        "close_codes": close_codes(),
    }
    return render(request, "admin/live.html", context)


def _for_template(endpoint: Endpoint) -> dict[str, Any]:
    values = {fact.field: fact.value for fact in policy_facts(endpoint.policy)}
    if endpoint.policy.accept_any_subprotocol:
        values["subprotocols"] = "any"
    facts = [{"label": label, "value": values[field]} for field, label in _FACTS.items() if values[field] != "none"]
    fields = {field.name: getattr(endpoint, field.name) for field in dataclasses.fields(endpoint)}
    return {**fields, "source": endpoint.source, "facts": facts}


def _for_script(endpoint: Endpoint) -> dict[str, Any]:
    subprotocols = list(endpoint.policy.subprotocols)
    return {
        "slug": endpoint.slug,
        "path": endpoint.path,
        "example": endpoint.example,
        "authentication": endpoint.authentication,
        "needs": _needs(endpoint),
        "subprotocols": subprotocols or (["my-protocol"] if endpoint.policy.accept_any_subprotocol else []),
        "message": _first_message(endpoint),
        "presets": presets_for(endpoint),
    }


def _needs(endpoint: Endpoint) -> list[str]:
    """Return what a handshake is refused without, as far as the endpoint's class states it."""
    needs = []
    if endpoint.authentication == "required":
        needs.append("a user: a token, a ticket or a session (401)")
    parameters = [f"{item.name} ({item.schema.get('type', 'text')})" for item in endpoint.query if item.required]
    if parameters:
        needs.append(f"the query parameters {', '.join(parameters)} (400)")
    if endpoint.policy.subprotocols:
        offered = ", ".join(endpoint.policy.subprotocols)
        needs.append(f"in a browser that offers any subprotocol, one of {offered}")
    return needs


def _first_message(endpoint: Endpoint) -> str:
    messages = describe_messages(endpoint.client_messages)
    return json.dumps(messages[0].example, ensure_ascii=False) if messages else "hello"


def _is_served(url: str) -> bool:
    try:
        resolve(url)
    except Resolver404:
        return False
    return True
