"""The reference of the WebSocket API: ``/api/docs/``."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from realtime.engine import close_codes
from realtime.engine.describe.endpoints import Endpoint, describe_endpoints, policy_facts, policy_fields
from realtime.engine.describe.schemas import MessageType, describe_messages

__all__ = ["reference"]

_AUTHENTICATION = {
    "none": "Nobody is asked who they are.",
    "optional": "A credential is checked where there is one; without one the client is a visitor.",
    "required": "Without a valid credential the handshake is answered with 401.",
}


@require_safe
def reference(request: HttpRequest) -> HttpResponse:
    """Show every endpoint with its policy and messages, and every close code."""
    endpoints = describe_endpoints()
    context = {
        "endpoints": [_for_template(endpoint) for endpoint in endpoints],
        "protocols": _protocols(endpoints),
        "policy_fields": policy_fields().items(),
        "close_codes": close_codes(),
    }
    return render(request, "console/reference.html", context)


def _for_template(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "slug": endpoint.slug,
        "path": endpoint.path,
        "example": endpoint.example,
        "summary": endpoint.summary,
        "details": endpoint.details,
        "source": endpoint.source,
        "query": endpoint.query,
        "parameters": endpoint.parameters,
        "authentication": _AUTHENTICATION[str(endpoint.authentication)],
        "facts": policy_facts(endpoint.policy),
        "protocol": _protocol_slug(endpoint),
    }


def _protocols(endpoints: list[Endpoint]) -> list[dict[str, Any]]:
    """Return the message protocols; endpoints that speak the same one share its description."""
    protocols: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        slug = _protocol_slug(endpoint)
        if slug is None:
            continue
        protocol = protocols.setdefault(
            slug,
            {
                "slug": slug,
                "paths": [],
                "directions": [
                    {"title": "Client to server", "messages": _messages(slug, "in", endpoint.client_messages)},
                    {"title": "Server to client", "messages": _messages(slug, "out", endpoint.server_messages)},
                ],
            },
        )
        protocol["paths"].append(endpoint.path)
    return list(protocols.values())


def _protocol_slug(endpoint: Endpoint) -> str | None:
    if endpoint.client_messages is None and endpoint.server_messages is None:
        return None
    return f"messages-of-{endpoint.consumer.__name__.removesuffix('Consumer').lower()}"


def _messages(protocol: str, direction: str, union: Any) -> list[dict[str, Any]]:
    return [_message(f"{protocol}-{direction}-{message.tag}", message) for message in describe_messages(union)]


def _message(anchor: str, message: MessageType) -> dict[str, Any]:
    return {
        "anchor": anchor,
        "tag": message.tag,
        "summary": message.summary,
        "fields": message.fields,
        "example": json.dumps(message.example, ensure_ascii=False),
    }
