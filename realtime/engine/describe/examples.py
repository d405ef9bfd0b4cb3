"""Examples of messages, made from their JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["example_of", "value_of"]

#: What an example shows for a field of this name; Meta(examples=[...]) on the field comes first.
_EXAMPLES_BY_NAME: Mapping[str, Any] = {
    "at": "2026-01-31T12:00:00Z",
    "before": 120,
    "code": "not_joined",
    "content": "hello",
    "detail": "You are not in the room 'lobby'.",
    "epoch": "5f0c7a1e-8a3e-4f0e-9d55-0c8f0f3c7b11",
    "expires_at": "2026-01-31T12:15:00Z",
    "members": ["ann", "bob"],
    "ref": "1",
    "room": "lobby",
    "state": "joined",
    "token": "eyJhbGciOi...",
    "user": "ann",
}
_EXAMPLES_BY_TYPE: Mapping[str, Any] = {"boolean": True, "integer": 41, "number": 41, "null": None}
_EXAMPLES_BY_FORMAT: Mapping[str, Any] = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "duration": "PT30S",
    "uuid": "5f0c7a1e-8a3e-4f0e-9d55-0c8f0f3c7b11",
}

#: Optional fields that an example shows all the same, since most clients send them.
_USUALLY_SENT = frozenset({"room", "ref"})


def example_of(schema: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message that fits a schema; ``components`` are those that it may refer to."""
    properties = schema["properties"]
    # A message of its tag and one optional field is shown without that field.
    usual = _USUALLY_SENT if len(properties) > 2 else frozenset()
    return {
        name: value_of(name, value, components)
        for name, value in properties.items()
        if name in schema["required"] or name in usual
    }


def value_of(name: str, schema: Mapping[str, Any], components: Mapping[str, Any]) -> Any:
    """Return a value that fits the schema of a field of this name."""
    match schema:
        case {"examples": [first, *_]}:
            return first
        case _ if name in _EXAMPLES_BY_NAME:
            return _EXAMPLES_BY_NAME[name]
        case {"enum": [first, *_]}:
            return first
        case {"properties": _}:
            return example_of(schema, components)
        case {"format": known} if known in _EXAMPLES_BY_FORMAT:
            return _EXAMPLES_BY_FORMAT[known]
        case {"$ref": _}:
            return value_of("", components[str(schema["$ref"]).rpartition("/")[2]], components)
        case {"anyOf": [first, *_]}:
            return value_of("", first, components)
        case {"prefixItems": items}:
            return [value_of("", item, components) for item in items]
        case {"items": item}:
            return [value_of("", item, components)]
        case {"type": "object", "additionalProperties": dict() as item}:
            return {"name": value_of("", item, components)}
        case {"type": "object"}:
            return {}
    return _EXAMPLES_BY_TYPE.get(schema.get("type", ""), "text")
