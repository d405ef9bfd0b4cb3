"""Types of messages in TypeScript."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["property_name", "type_name"]

#: Dates, UUIDs and bytes are strings in JSON too.
_TYPES = {"integer": "number", "number": "number", "boolean": "boolean", "null": "null", "string": "string"}

_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*")


def type_name(schema: Mapping[str, Any], components: Mapping[str, Any]) -> str:
    """Return the type of a JSON Schema.

    Args:
        schema: the schema.
        components: those that it may refer to, by name; an enumeration among them is spelled out.
    """
    match schema:
        case {"enum": values}:
            return " | ".join(json.dumps(value) for value in values)
        case {"$ref": reference}:
            name = str(reference).rpartition("/")[2]
            return type_name(components[name], components) if "enum" in components[name] else name
        case {"anyOf": parts}:
            return " | ".join(type_name(part, components) for part in parts)
        case {"prefixItems": parts}:
            return f"[{', '.join(type_name(part, components) for part in parts)}]"
        case {"type": "array"}:
            item = type_name(schema.get("items", {}), components)
            return f"({item})[]" if " " in item else f"{item}[]"
        case {"type": "object", "additionalProperties": dict(values)}:
            return "{ [key: string]: " + type_name(values, components) + " }"
        case {"type": "object"}:
            return "{ [key: string]: unknown }"
    return _TYPES.get(schema.get("type", ""), "unknown")


def property_name(name: str) -> str:
    """Return the name of a property, in quotes where it is no identifier."""
    return name if _IDENTIFIER.fullmatch(name) else json.dumps(name)
