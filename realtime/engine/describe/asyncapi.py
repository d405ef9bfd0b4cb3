"""The WebSocket API as an AsyncAPI 3.0 document, made from routes, policies, query structs and message structs.

The document speaks for the server: it *receives* what clients send. Policies stand under ``x-policy`` and close codes
under ``x-close-codes``, for which the specification has no place.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from realtime.engine.describe.endpoints import Endpoint, policy_values
from realtime.engine.describe.schemas import MessageType, camel_case, json_schemas, members_of
from realtime.engine.protocol.close import CloseCode

__all__ = ["VERSION", "asyncapi_document"]

#: Version of the described API, not of the specification.
VERSION = "1.0.0"

_SPECIFICATION = "3.0.0"
_WEBSOCKET_BINDING = "0.1.0"

_PLAIN_MESSAGES: dict[str, Any] = {
    "Text": {
        "name": "Text",
        "title": "A text message",
        "contentType": "text/plain",
        "payload": {"$ref": "#/components/schemas/Text"},
        "examples": [{"payload": "hello"}],
    },
    "Binary": {
        "name": "Binary",
        "title": "A binary message",
        "contentType": "application/octet-stream",
        "payload": {"$ref": "#/components/schemas/Binary"},
    },
}
_PLAIN_SCHEMAS: dict[str, Any] = {
    "Text": {"type": "string", "title": "Text"},
    "Binary": {"type": "string", "format": "binary", "title": "Binary"},
}

_SECURITY_SCHEMES: dict[str, Any] = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token, from POST /api/token/.",
    },
    "ticket": {
        "type": "httpApiKey",
        "in": "query",
        "name": "ticket",
        "description": "A ticket for one connection, from POST /api/ws-ticket/.",
    },
    "session": {
        "type": "httpApiKey",
        "in": "cookie",
        "name": "sessionid",
        "description": "The session of a page of this site.",
    },
}


def asyncapi_document(endpoints: Iterable[Endpoint], *, host: str, protocol: str) -> dict[str, Any]:
    """Return the document.

    Args:
        endpoints: what is described.
        host: host and port of the server.
        protocol: ``ws`` or ``wss``.
    """
    known = list(endpoints)
    unions = [union for endpoint in known for union in (endpoint.client_messages, endpoint.server_messages)]
    structs = dict.fromkeys(struct for union in unions for struct in members_of(union))
    messages = [message for endpoint in known for message in (*endpoint.received, *endpoint.sent)]
    return {
        "asyncapi": _SPECIFICATION,
        "info": {
            "title": "Real-time endpoints",
            "version": VERSION,
            "license": {"name": "MIT"},
            "description": "A refused handshake is an HTTP response of type application/problem+json (RFC 9457).",
        },
        "defaultContentType": "application/json",
        "servers": {"this": {"host": host, "protocol": protocol}},
        "channels": {_channel_name(endpoint): _channel(endpoint) for endpoint in known},
        "operations": dict(operation for endpoint in known for operation in _operations(endpoint)),
        "components": {
            "messages": _PLAIN_MESSAGES | {message.name: _message(message) for message in messages},
            "schemas": _PLAIN_SCHEMAS | json_schemas(structs),
            "securitySchemes": _SECURITY_SCHEMES,
        },
        "x-close-codes": [
            {"code": code.value, "name": code.name, "meaning": code.meaning, "advice": code.advice.value}
            for code in CloseCode
        ],
    }


def _channel_name(endpoint: Endpoint) -> str:
    """Return ``wsAdminLive`` for ``/ws/admin/live``: a name in every programming language."""
    name = camel_case(endpoint.slug)
    return name[:1].lower() + name[1:]


def _channel(endpoint: Endpoint) -> dict[str, Any]:
    binding: dict[str, Any] = {"method": "GET", "bindingVersion": _WEBSOCKET_BINDING}
    if endpoint.query:
        binding["query"] = {
            "type": "object",
            "properties": {item.name: dict(item.schema) for item in endpoint.query},
            "required": [item.name for item in endpoint.query if item.required],
        }
    channel: dict[str, Any] = {
        "address": endpoint.path,
        "title": endpoint.path,
        "summary": endpoint.summary,
        "servers": [_reference("servers", "this")],
        "messages": {
            name: _reference("components", "messages", name)
            for messages in (endpoint.received, endpoint.sent)
            for name in _names(messages)
        },
        "bindings": {"ws": binding},
        "x-authentication": str(endpoint.authentication),
        "x-policy": policy_values(endpoint.policy),
    }
    if endpoint.details:
        channel["description"] = "\n\n".join(endpoint.details)
    if endpoint.parameters:
        channel["parameters"] = {name: {"description": f"Name of the {name}."} for name in endpoint.parameters}
    return channel


def _operations(endpoint: Endpoint) -> Iterable[tuple[str, dict[str, Any]]]:
    channel = _channel_name(endpoint)
    for action, messages in (("receive", endpoint.received), ("send", endpoint.sent)):
        operation: dict[str, Any] = {
            "action": action,
            "title": f"{action.title()} on {endpoint.path}",
            "channel": _reference("channels", channel),
            "summary": f"What the {'client' if action == 'receive' else 'server'} sends on {endpoint.path}.",
            "messages": [_reference("channels", channel, "messages", name) for name in _names(messages)],
        }
        if endpoint.authentication == "required":
            operation["security"] = [_reference("components", "securitySchemes", name) for name in _SECURITY_SCHEMES]
        yield f"{action}{camel_case(endpoint.slug)}", operation


def _message(message: MessageType) -> dict[str, Any]:
    return {
        "name": message.tag,
        "title": message.tag,
        "summary": message.summary,
        "contentType": "application/json",
        "payload": _reference("components", "schemas", message.name),
        "examples": [{"payload": dict(message.example)}],
    }


def _names(messages: Iterable[MessageType]) -> list[str]:
    return [message.name for message in messages] or list(_PLAIN_MESSAGES)


def _reference(*path: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(path)}
