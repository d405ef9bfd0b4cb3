"""Tagged message structs read for documents: their fields, their JSON Schema, an example, a TypeScript type."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect as msgspec_inspect

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

#: Optional fields that an example shows all the same, since most clients send them.
_USUALLY_SENT = frozenset({"room", "ref"})

_REFERENCE = "#/components/schemas/{name}"

_NUMBERS = (msgspec_inspect.IntType, msgspec_inspect.FloatType, msgspec_inspect.DecimalType)
_LISTS = (
    msgspec_inspect.ListType,
    msgspec_inspect.SetType,
    msgspec_inspect.FrozenSetType,
    msgspec_inspect.VarTupleType,
)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    Args:
        name: as it stands in the JSON.
        type: its type in TypeScript's notation.
        required: whether a message without it is refused.
    """

    name: str
    type: str
    required: bool


@dataclass(frozen=True, slots=True)
class MessageType:
    """One tagged struct.

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


def members_of(union: Any) -> tuple[type[msgspec.Struct], ...]:
    """Return the structs of a union, of a single struct, or of None."""
    if union is None:
        return ()
    if isinstance(union, types.UnionType) or typing.get_origin(union) is typing.Union:
        return typing.get_args(union)
    return (union,)


def describe_messages(union: Any) -> list[MessageType]:
    """Describe each struct of a union.

    Args:
        union: tagged structs, for instance ``Join | Leave``; None for none.
    """
    return [_describe(_struct_info(struct)) for struct in members_of(union)]


def json_schemas(structs: Iterable[type[msgspec.Struct]]) -> dict[str, Any]:
    """Return the JSON Schema of each struct and of what they refer to, by name, for ``#/components/schemas``.

    Generators of code make a type of each enumeration and union of structs: in a field it gets a schema of its own,
    with a name made of the struct's and the field's. A tag is a constant.
    """
    _, components = msgspec.json.schema_components(list(structs), ref_template=_REFERENCE)
    named: dict[str, Any] = {}
    for name, schema in components.items():
        properties = {
            field: _named_type(f"{name}{camel_case(field)}", value, named)
            for field, value in schema.get("properties", {}).items()
        }
        named[name] = {**schema, "properties": properties} if properties else schema
    return named


def camel_case(text: str) -> str:
    """Return words that are joined by ``-`` or ``_`` as ``OneName``."""
    return "".join(word[:1].upper() + word[1:] for word in re.split("[-_]", text))


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


def typescript(client_messages: Any, server_messages: Any) -> str:
    """Return TypeScript declarations of the messages in both directions.

    A field with a default may be left out by a client. The server always sends it.

    Args:
        client_messages: union of what a client sends.
        server_messages: union of what a server sends.
    """
    sent, received = members_of(client_messages), members_of(server_messages)
    blocks = [_interface(info, may_omit=True) for info in _with_parts(sent)]
    done = {info.cls for info in _with_parts(sent)}
    blocks += [_interface(info, may_omit=False) for info in _with_parts(received) if info.cls not in done]
    blocks.append(_alias("ClientMessage", sent))
    blocks.append(_alias("ServerMessage", received))
    return "\n".join(blocks)


def _struct_info(struct: type[msgspec.Struct]) -> msgspec_inspect.StructType:
    info = msgspec_inspect.type_info(struct)
    assert isinstance(info, msgspec_inspect.StructType)
    return info


def _describe(info: msgspec_inspect.StructType) -> MessageType:
    return MessageType(
        name=info.cls.__name__,
        tag=str(info.tag),
        summary=_summary(info.cls),
        fields=tuple(Field(field.encode_name, _type_name(field.type), field.required) for field in info.fields),
        example=_example(info),
    )


def _summary(struct: type) -> str:
    return " ".join(inspect.cleandoc(struct.__doc__ or "").split())


def _example(info: msgspec_inspect.StructType) -> dict[str, Any]:
    tag = {} if info.tag_field is None else {info.tag_field: info.tag}
    shown = [
        field
        for field in info.fields
        if field.required or (field.encode_name in _USUALLY_SENT and len(info.fields) > 1)
    ]
    return tag | {field.encode_name: _example_value(field.encode_name, field.type) for field in shown}


def _example_value(name: str, kind: msgspec_inspect.Type) -> Any:
    if isinstance(kind, msgspec_inspect.Metadata):
        examples = (kind.extra_json_schema or {}).get("examples")
        return examples[0] if examples else _example_value(name, kind.type)
    if name in _EXAMPLES_BY_NAME:
        return _EXAMPLES_BY_NAME[name]
    if isinstance(kind, msgspec_inspect.StructType):
        return _example(kind)
    if isinstance(kind, _LISTS):
        return [_example_value("", kind.item_type)]
    if isinstance(kind, msgspec_inspect.BoolType):
        return True
    if isinstance(kind, msgspec_inspect.EnumType):
        return next(iter(kind.cls)).value
    if isinstance(kind, msgspec_inspect.LiteralType):
        return kind.values[0]
    return 41 if isinstance(kind, _NUMBERS) else "text"


def _with_parts(structs: Iterable[type[msgspec.Struct]]) -> list[msgspec_inspect.StructType]:
    """Return the structs and those that their fields hold, each once."""
    found: dict[type, msgspec_inspect.StructType] = {}
    for struct in structs:
        for info in _walk(_struct_info(struct)):
            found.setdefault(info.cls, info)
    return list(found.values())


def _walk(kind: msgspec_inspect.Type) -> Iterator[msgspec_inspect.StructType]:
    if isinstance(kind, msgspec_inspect.StructType):
        yield kind
        for field in kind.fields:
            yield from _walk(field.type)
    elif isinstance(kind, msgspec_inspect.UnionType):
        for member in kind.types:
            yield from _walk(member)
    elif isinstance(kind, _LISTS):
        yield from _walk(kind.item_type)
    elif isinstance(kind, msgspec_inspect.Metadata):
        yield from _walk(kind.type)


def _interface(info: msgspec_inspect.StructType, *, may_omit: bool) -> str:
    lines = [f"/** {_summary(info.cls)} */", f"export interface {info.cls.__name__} " + "{"]
    if info.tag_field is not None:
        lines.append(f'  {info.tag_field}: "{info.tag}";')
    for field in info.fields:
        mark = "?" if may_omit and not field.required else ""
        lines.append(f"  {field.encode_name}{mark}: {_type_name(field.type)};")
    return "\n".join([*lines, "}", ""])


def _alias(name: str, structs: Iterable[type]) -> str:
    return f"export type {name} = {' | '.join(struct.__name__ for struct in structs) or 'never'};\n"


def _type_name(kind: msgspec_inspect.Type) -> str:
    if isinstance(kind, msgspec_inspect.Metadata):
        return _type_name(kind.type)
    if isinstance(kind, msgspec_inspect.UnionType):
        return " | ".join(_type_name(member) for member in kind.types)
    if isinstance(kind, _LISTS):
        item = _type_name(kind.item_type)
        return f"({item})[]" if " " in item else f"{item}[]"
    if isinstance(kind, msgspec_inspect.StructType):
        return kind.cls.__name__
    if isinstance(kind, msgspec_inspect.LiteralType):
        return " | ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in kind.values)
    if isinstance(kind, msgspec_inspect.EnumType):
        return " | ".join(f'"{member.value}"' for member in kind.cls)
    return _plain_type_name(kind)


def _plain_type_name(kind: msgspec_inspect.Type) -> str:
    if isinstance(kind, _NUMBERS):
        return "number"
    if isinstance(kind, msgspec_inspect.BoolType):
        return "boolean"
    if isinstance(kind, msgspec_inspect.NoneType):
        return "null"
    if isinstance(kind, (msgspec_inspect.DictType, msgspec_inspect.AnyType)):
        return "unknown"
    # Dates, UUIDs and bytes are strings in JSON.
    return "string"
