"""The WebSocket API as an AsyncAPI 3.0 document, made from routes, policies, query structs and message structs.

The document speaks for the server: it *receives* what clients send. Policies stand under ``x-policy`` and close codes
under ``x-close-codes``, for which the specification has no place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from realtime.engine.describe.endpoints import Endpoint, policy_values
from realtime.engine.describe.schemas import MessageType, Schemas, camel_case, members_of
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
    structs = dict.fromkeys(struct for endpoint in known for struct in _structs(endpoint))
    with_ref = frozenset(struct for endpoint in known for struct in endpoint.with_ref)
    schemas = Schemas(structs, with_ref=with_ref, reserved=_PLAIN_MESSAGES)
    messages = [schemas.describe(struct) for struct in structs]
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
        "channels": {_channel_name(endpoint): _channel(endpoint, schemas) for endpoint in known},
        "operations": dict(operation for endpoint in known for operation in _operations(endpoint, schemas)),
        "components": {
            "messages": _PLAIN_MESSAGES | {message.name: _message(message) for message in messages},
            "schemas": _PLAIN_SCHEMAS | schemas.for_generators(),
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


def _structs(endpoint: Endpoint) -> list[Any]:
    return [*members_of(endpoint.client_messages), *members_of(endpoint.server_messages)]


def _channel(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any]:
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
            for messages in (endpoint.client_messages, endpoint.server_messages)
            for name in _names(messages, schemas)
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


def _operations(endpoint: Endpoint, schemas: Schemas) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield an operation for each message that is answered, one for all others of clients, and one for the server's."""
    slug, path = camel_case(endpoint.slug), endpoint.path
    received, sent = members_of(endpoint.client_messages), members_of(endpoint.server_messages)
    for struct, replies in endpoint.replies.items():
        name = schemas.name(struct)
        operation = _operation(endpoint, "receive", f"{name} on {path}", [name])
        answers = [schemas.name(reply) for reply in (*replies, endpoint.error) if reply is not None]
        operation["reply"] = {
            "channel": operation["channel"],
            "messages": _channel_messages(endpoint, answers),
        }
        yield f"receive{slug}{name}", operation
    unanswered = [struct for struct in received if struct not in endpoint.replies]
    if unanswered or not received:
        yield f"receive{slug}", _operation(endpoint, "receive", f"Receive on {path}", _names(unanswered, schemas))
    yield f"send{slug}", _operation(endpoint, "send", f"Send on {path}", _names(sent, schemas))


def _operation(endpoint: Endpoint, action: str, title: str, names: Iterable[str]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "action": action,
        "title": title,
        "channel": _reference("channels", _channel_name(endpoint)),
        "summary": f"What the {'client' if action == 'receive' else 'server'} sends on {endpoint.path}.",
        "messages": _channel_messages(endpoint, names),
    }
    if endpoint.authentication == "required":
        operation["security"] = [_reference("components", "securitySchemes", name) for name in _SECURITY_SCHEMES]
    return operation


def _channel_messages(endpoint: Endpoint, names: Iterable[str]) -> list[dict[str, str]]:
    return [_reference("channels", _channel_name(endpoint), "messages", name) for name in names]


def _message(message: MessageType) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": message.tag,
        "title": message.tag,
        "summary": message.summary,
        "contentType": "application/json",
        "payload": _reference("components", "schemas", message.name),
        "examples": [{"payload": dict(message.example)}],
    }
    if message.has_ref:
        described["correlationId"] = {"description": "The client's reference.", "location": "$message.payload#/ref"}
    return described


def _names(messages: Any, schemas: Schemas) -> list[str]:
    return [schemas.name(struct) for struct in members_of(messages)] or list(_PLAIN_MESSAGES)


def _reference(*path: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(path)}
