"""Tagged message structs read for documents: JSON Schema, an example and a TypeScript type of each."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

__all__ = ["Field", "MessageType", "camel_case", "describe_messages", "json_schemas", "members_of", "typescript"]

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
_EXAMPLES_BY_TYPE: Mapping[str, Any] = {"boolean": True, "integer": 41, "number": 41, "object": {}}

#: Optional fields that an example shows all the same, since most clients send them.
_USUALLY_SENT = frozenset({"room", "ref"})

_REFERENCE = "#/components/schemas/{name}"

#: Dates, UUIDs and bytes are strings in JSON too.
_TYPESCRIPT = {"integer": "number", "number": "number", "boolean": "boolean", "null": "null", "string": "string"}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message, or one parameter of a query.

    Args:
        name: as it stands in the JSON, or in the address.
        schema: its JSON Schema.
        type: its type in TypeScript's notation.
        required: whether a message without it is refused.
        example: a value that is accepted.
    """

    name: str
    schema: Mapping[str, Any]
    type: str
    required: bool
    example: Any


@dataclass(frozen=True, slots=True)
class MessageType:
    """One struct.

    Args:
        name: name of the struct, unique in its module.
        tag: the value of the tag field, as clients see it.
        summary: its docstring in one line.
        fields: its fields without the tag.
        example: a message of this kind.
    """

    name: str
    tag: str
    summary: str
    fields: tuple[Field, ...]
    example: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The example as JSON."""
        return json.dumps(self.example, ensure_ascii=False)


def members_of(union: Any) -> tuple[type[msgspec.Struct], ...]:
    """Return the structs of a union, of a single struct, or of None."""
    return () if union is None else typing.get_args(union) or (union,)


def describe_messages(union: Any) -> list[MessageType]:
    """Describe each struct of a union.

    Args:
        union: structs, for instance ``Join | Leave``; None for none.
    """
    structs = members_of(union)
    components = _components(structs)
    return [_describe(struct, components) for struct in structs]


def json_schemas(structs: Iterable[type[msgspec.Struct]]) -> dict[str, Any]:
    """Return the JSON Schema of each struct and of what they refer to, by name, for ``#/components/schemas``.

    Generators of code make a type of each enumeration and union of structs: in a field it gets a schema of its own,
    with a name made of the struct's and the field's. A tag is a constant.
    """
    named: dict[str, Any] = {}
    for name, schema in _components(structs).items():
        properties = {
            field: _named_type(f"{name}{camel_case(field)}", value, named)
            for field, value in schema.get("properties", {}).items()
        }
        named[name] = {**schema, "properties": properties} if properties else schema
    return named


def typescript(client_messages: Any, server_messages: Any) -> str:
    """Return TypeScript declarations of the messages in both directions.

    A field with a default may be left out by a client. The server always sends it.

    Args:
        client_messages: union of what a client sends.
        server_messages: union of what a server sends.
    """
    sent, received = members_of(client_messages), members_of(server_messages)
    of_clients, of_servers = _components(sent), _components(received)
    blocks = [_interface(name, of_clients, may_omit=True) for name in of_clients]
    blocks += [_interface(name, of_servers, may_omit=False) for name in of_servers if name not in of_clients]
    blocks.append(_alias("ClientMessage", sent))
    blocks.append(_alias("ServerMessage", received))
    return "\n".join(block for block in blocks if block)


def camel_case(text: str) -> str:
    """Return words that are joined by ``-`` or ``_`` as ``OneName``."""
    return "".join(word[:1].upper() + word[1:] for word in re.split("[-_]", text))


def _components(structs: Iterable[type[msgspec.Struct]]) -> dict[str, Any]:
    """Return the schema of each struct and of each type that its fields hold, by name."""
    return msgspec.json.schema_components(list(structs), ref_template=_REFERENCE)[1]


def _referred(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _named_type(name: str, schema: dict[str, Any], named: dict[str, Any]) -> dict[str, Any]:
    """Return a field's schema; what generators make a type of is added to ``named``, and referred to."""
    match schema:
        case {"enum": [value]}:
            return {"type": "string", "const": value}
        case {"enum": _}:
            named[name] = {"type": "string", "title": name, **schema}
        case {"anyOf": parts} if any("$ref" in part for part in parts):
            named[name] = {"title": name, **schema}
        case _:
            return schema
    return {"$ref": _REFERENCE.format(name=name)}


def _describe(struct: type[msgspec.Struct], components: Mapping[str, Any]) -> MessageType:
    schema = components[struct.__name__]
    return MessageType(
        name=struct.__name__,
        tag=str(struct.__struct_config__.tag),
        summary=_summary(schema),
        fields=tuple(
            field for field in _fields(schema, components) if field.name != struct.__struct_config__.tag_field
        ),
        example=_example(schema, components),
    )


def _fields(schema: Mapping[str, Any], components: Mapping[str, Any]) -> tuple[Field, ...]:
    return tuple(
        Field(name, value, _type_name(value, components), name in schema["required"], _value(name, value, components))
        for name, value in schema["properties"].items()
    )


def _summary(schema: Mapping[str, Any]) -> str:
    return " ".join(schema.get("description", "").split())


def _example(schema: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema["properties"]
    # A message of its tag and one optional field is shown without that field.
    usual = _USUALLY_SENT if len(properties) > 2 else frozenset()
    return {
        name: _value(name, value, components)
        for name, value in properties.items()
        if name in schema["required"] or name in usual
    }


def _value(name: str, schema: Mapping[str, Any], components: Mapping[str, Any]) -> Any:
    match schema:
        case {"examples": [first, *_]}:
            return first
        case _ if name in _EXAMPLES_BY_NAME:
            return _EXAMPLES_BY_NAME[name]
        case {"enum": [first, *_]}:
            return first
        case {"properties": _}:
            return _example(schema, components)
        case {"$ref": _}:
            return _value("", components[_referred(schema)], components)
        case {"anyOf": [first, *_]}:
            return _value("", first, components)
        case {"items": item}:
            return [_value("", item, components)]
        case {"type": "object", "additionalProperties": dict() as item}:
            return {"name": _value("", item, components)}
    return _EXAMPLES_BY_TYPE.get(schema.get("type", ""), "text")


def _interface(name: str, components: Mapping[str, Any], *, may_omit: bool) -> str:
    """Return the declaration of a struct; nothing for an enumeration, which its fields spell out."""
    schema = components[name]
    if "enum" in schema:
        return ""
    lines = [f"/** {_summary(schema)} */", f"export interface {name} " + "{"]
    for field in _fields(schema, components):
        mark = "?" if may_omit and not field.required else ""
        lines.append(f"  {field.name}{mark}: {field.type};")
    return "\n".join([*lines, "}", ""])


def _alias(name: str, structs: Iterable[type]) -> str:
    return f"export type {name} = {' | '.join(struct.__name__ for struct in structs) or 'never'};\n"


def _type_name(schema: Mapping[str, Any], components: Mapping[str, Any]) -> str:
    match schema:
        case {"enum": values}:
            return " | ".join(json.dumps(value) for value in values)
        case {"$ref": _}:
            name = _referred(schema)
            return _type_name(components[name], components) if "enum" in components[name] else name
        case {"anyOf": parts}:
            return " | ".join(_type_name(part, components) for part in parts)
        case {"type": "array"}:
            item = _type_name(schema.get("items", {}), components)
            return f"({item})[]" if " " in item else f"{item}[]"
        case {"type": "object", "additionalProperties": dict() as item}:
            return f"Record<string, {_type_name(item, components)}>"
    return _TYPESCRIPT.get(schema.get("type", ""), "unknown")
