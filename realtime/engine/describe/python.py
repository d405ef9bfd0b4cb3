"""Types of messages in Python, as fields of msgspec structs."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["field_source", "type_name"]

_TYPES = {"integer": "int", "number": "float", "boolean": "bool", "null": "None", "string": "str"}

#: What msgspec reads a string of this format into.
_FORMATS = {
    "date-time": "datetime.datetime",
    "date": "datetime.date",
    "time": "datetime.time",
    "duration": "datetime.timedelta",
    "uuid": "uuid.UUID",
    "decimal": "decimal.Decimal",
}


def type_name(schema: Mapping[str, Any], components: Mapping[str, Any]) -> str:
    """Return the type of a JSON Schema.

    Args:
        schema: the schema.
        components: those that it may refer to, by name; an enumeration among them is spelled out.
    """
    match schema:
        case {"enum": values}:
            return f"typing.Literal[{', '.join(map(repr, values))}]"
        case {"$ref": reference}:
            name = str(reference).rpartition("/")[2]
            return type_name(components[name], components) if "enum" in components[name] else name
        case {"anyOf": parts}:
            return " | ".join(type_name(part, components) for part in parts)
        case {"prefixItems": parts}:
            return f"tuple[{', '.join(type_name(part, components) for part in parts)}]"
        case {"type": "array"}:
            return f"list[{type_name(schema.get('items', {}), components)}]"
        case {"type": "object"}:
            values = schema.get("additionalProperties")
            return f"dict[str, {type_name(values, components) if isinstance(values, dict) else 'typing.Any'}]"
        case {"type": "string", "contentEncoding": "base64"}:
            return "bytes"
        case {"type": "string", "format": known} if known in _FORMATS:
            return _FORMATS[known]
    return _TYPES.get(schema.get("type", ""), "typing.Any")


def field_source(name: str, schema: Mapping[str, Any], components: Mapping[str, Any], *, required: bool) -> str:
    """Return the line of a field in the body of a struct.

    A field that may be left out has its default value where that is a constant, else ``UNSET``.

    Args:
        name: as it stands in the JSON.
        schema: its JSON Schema.
        components: as for ``type_name()``.
        required: whether a message without it is refused.
    """
    kind = type_name(schema, components)
    default = schema.get("default", ...)
    given = None
    if not required:
        is_constant = default is None or isinstance(default, (bool, int, float)) or (kind == "str" and default != ...)
        is_constant |= kind.startswith("typing.Literal") and default != ...
        given = repr(default) if is_constant else "msgspec.UNSET"
        kind = kind if is_constant else f"{kind} | msgspec.UnsetType"
    attribute = _identifier(name)
    if attribute != name:
        given = f"msgspec.field({'' if given is None else f'default={given}, '}name={name!r})"
    return f"{attribute}: {kind}" + ("" if given is None else f" = {given}")


def _identifier(name: str) -> str:
    words = re.sub(r"\W", "_", name)
    if keyword.iskeyword(words):
        return f"{words}_"
    return words if words.isidentifier() else f"field_{words}"
