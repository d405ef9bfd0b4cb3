"""Message structs as JSON Schema, as they stand on the wire, and what documents and pages say of each."""

from __future__ import annotations

import json
import re
import typing
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect

from realtime.engine.describe.examples import example_of, value_of
from realtime.engine.describe.typescript import type_name
from realtime.engine.typed.formats import MAX_REF
from realtime.engine.typed.wire import REF, TAG, union_members, wire_type

__all__ = [
    "Field",
    "MessageType",
    "Schemas",
    "camel_case",
    "describe_messages",
    "members_of",
    "referred_names",
    "summary_of",
]

_REFERENCE = "#/components/schemas/{name}"


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
        name: name of the struct, unique among those that are described together.
        tag: the value of the tag field, as clients see it; empty for a query.
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

    @property
    def has_ref(self) -> bool:
        """Whether it has a place for the client's reference."""
        return any(field.name == REF for field in self.fields)


class Schemas:
    """The JSON Schema of struct types and of every type that their fields hold, by names that are identifiers.

    A struct has its own name. Where two have the same, each is preceded by the name of its module: ``PollVote``.

    Args:
        structs: the types.
        with_ref: those of them that a ``ref`` stands beside on the wire, which needs no field in the struct.
        reserved: names that none of them gets.
        tagged: whether they are messages; a query is none.

    Attributes:
        components: the schemas, for ``#/components/schemas``.
        omitting: names of the structs of which the server leaves out fields that have their default value.
    """

    def __init__(
        self,
        structs: Iterable[Any],
        *,
        with_ref: Collection[Any] = (),
        reserved: Collection[str] = (),
        tagged: bool = True,
    ) -> None:
        known = list(dict.fromkeys(structs))
        references, components = msgspec.json.schema_components(known, ref_template=_REFERENCE)
        classes: dict[str, Any] = {}
        for reference, kind in zip(references, inspect.multi_type_info(known), strict=True):
            _refine(reference, kind, components, classes)
        names = _unique_names(components, classes, reserved)
        self.components: dict[str, Any] = {names[name]: _renamed(schema, names) for name, schema in components.items()}
        self.omitting = {names[name] for name, struct in classes.items() if struct.__struct_config__.omit_defaults}
        self._names = {struct: names[_referred(reference)] for struct, reference in zip(known, references, strict=True)}
        self._tags = {name: wire_type(struct).tag for struct, name in self._names.items()} if tagged else {}
        if tagged:
            self._add_heads(with_ref)

    def name(self, struct: Any) -> str:
        """Return the name of one of the types."""
        return self._names[struct]

    def describe(self, struct: Any) -> MessageType:
        """Return what documents say of one of the types."""
        name = self._names[struct]
        schema = self.components[name]
        return MessageType(
            name=name,
            tag=self._tags.get(name, ""),
            summary=summary_of(schema),
            fields=tuple(field for field in self._fields(schema) if name not in self._tags or field.name != TAG),
            example=example_of(schema, self.components),
        )

    def for_generators(self) -> dict[str, Any]:
        """Return the schemas as generators of code want them.

        They make a type of each enumeration and union of structs: in a field it gets a schema of its own, with a name
        made of the struct's and the field's. A tag is a constant.
        """
        named: dict[str, Any] = {}
        for name, schema in self.components.items():
            properties = {
                field: _named_type(f"{name}{camel_case(field)}", value, named)
                for field, value in schema.get("properties", {}).items()
            }
            named[name] = {**schema, "properties": properties} if properties else schema
        return named

    def _fields(self, schema: Mapping[str, Any]) -> Iterator[Field]:
        for name, value in schema["properties"].items():
            example = value_of(name, value, self.components)
            yield Field(name, value, type_name(value, self.components), name in schema["required"], example)

    def _add_heads(self, with_ref: Collection[Any]) -> None:
        """Add the tag and the ``ref`` where they stand on the wire and not in the struct."""
        nested = {_referred(node) for schema in self.components.values() for node in _references(schema)}
        for struct, name in self._names.items():
            wire, schema = wire_type(struct), self.components[name]
            head: dict[str, Any] = {} if wire.is_tagged else {TAG: {"enum": [wire.tag]}}
            tail: dict[str, Any] = {}
            if struct in with_ref and not wire.ref_field:
                tail = {
                    REF: {
                        "type": "string",
                        "maxLength": MAX_REF,
                        "description": "Of the client; its answer repeats it.",
                    }
                }
            if head and name in nested:
                # As a field of another struct it stands without its tag.
                self.components[f"{name}Value"] = schema
                self.components = {
                    key: _renamed(value, {name: f"{name}Value"}) for key, value in self.components.items()
                }
                schema = self.components[name]
            self.components[name] = {
                **schema,
                "properties": {**head, **schema["properties"], **tail},
                "required": [*head, *schema["required"]],
            }


def members_of(messages: Any) -> tuple[Any, ...]:
    """Return the structs of a union, of a single struct, of a list, or of None."""
    if isinstance(messages, (list, tuple)):
        return tuple(messages)
    return () if messages is None else union_members(messages)


def describe_messages(messages: Any, *, with_ref: Collection[Any] = ()) -> list[MessageType]:
    """Describe each struct of a union.

    Args:
        messages: structs, for instance ``Join | Leave``, or a list of them; None for none.
        with_ref: those of them that a ``ref`` stands beside on the wire.
    """
    structs = members_of(messages)
    schemas = Schemas(structs, with_ref=with_ref)
    return [schemas.describe(struct) for struct in structs]


def camel_case(text: str) -> str:
    """Return words that are joined by ``-`` or ``_`` as ``OneName``."""
    return "".join(word[:1].upper() + word[1:] for word in re.split("[-_]", text))


def referred_names(components: Mapping[str, Any], names: Iterable[str]) -> frozenset[str]:
    """Return ``names``, and those of all types that they hold."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [_referred(reference) for reference in _references(components[name])]
    return frozenset(found)


def summary_of(schema: Mapping[str, Any]) -> str:
    """Return the description of a schema in one line."""
    return " ".join(schema.get("description", "").split())


def _referred(schema: Mapping[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _references(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            yield from _references(part)


def _unique_names(
    components: Mapping[str, Any], classes: Mapping[str, Any], reserved: Collection[str]
) -> dict[str, str]:
    """Return a name for each that msgspec gives; ``Page_int_`` and ``polls.Vote`` are no good names."""
    words = {name: _words(name, schema, classes.get(name)) for name, schema in components.items()}
    lengths = dict.fromkeys(components, 1)
    while True:
        names = {
            name: "".join([*map(camel_case, parts[-lengths[name] : -1]), parts[-1]]) for name, parts in words.items()
        }
        count = Counter([*names.values(), *reserved])
        clashing = [name for name in components if count[names[name]] > 1 and lengths[name] < len(words[name])]
        if not clashing:
            return names
        for name in clashing:
            lengths[name] += 1


def _words(name: str, schema: Mapping[str, Any], struct: Any) -> list[str]:
    """Return the parts of a type's full name, the last of them its own name."""
    if struct is None:
        return name.split(".")
    *around, own = struct.__qualname__.replace("<locals>.", "").split(".")
    if "[" in schema["title"]:
        own = "".join(map(camel_case, re.findall(r"\w+", schema["title"])))
    return [*struct.__module__.split("."), *around, own]


def _refine(schema: Any, kind: Any, components: Mapping[str, Any], classes: dict[str, Any]) -> None:
    """Note the class of each struct, and the format of dates and times, which msgspec leaves out of most schemas."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    match kind:
        case inspect.StructType() if "$ref" in schema:
            name = _referred(schema)
            if name not in classes:
                classes[name] = typing.get_origin(kind.cls) or kind.cls
                properties = components[name].get("properties", {})
                for field in kind.fields if properties else ():
                    _refine(properties[field.encode_name], field.type, components, classes)
        case inspect.DateTimeType():
            schema.setdefault("format", "date-time")
        case inspect.TimeType():
            schema.setdefault("format", "time")
        case inspect.CollectionType():
            _refine(schema.get("items", {}), kind.item_type, components, classes)
        case inspect.DictType():
            _refine(schema.get("additionalProperties", {}), kind.value_type, components, classes)
        case inspect.UnionType():
            parts = list(_parts(schema))
            structs = [part for part in parts if "properties" in components.get(_referred(part), ())]
            for kinds, candidates in (
                (inspect.StructType, structs),
                ((inspect.DateTimeType, inspect.TimeType), [part for part in parts if part.get("type") == "string"]),
                (inspect.CollectionType, [part for part in parts if part.get("type") == "array"]),
                (inspect.DictType, [part for part in parts if part.get("type") == "object"]),
            ):
                members = [member for member in kind.types if isinstance(member, kinds)]
                for part, member in zip(candidates, members, strict=False):
                    _refine(part, member, components, classes)


def _parts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the parts of a union; a field that may be unset is the union of one."""
    if "anyOf" not in schema:
        yield schema
    for part in schema.get("anyOf", ()):
        yield from _parts(part)


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    """Return a schema that refers to other names. Its discriminators are left out: AsyncAPI's are of another form."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            name = _referred(node)
            return {"$ref": _REFERENCE.format(name=names.get(name, name))}
        return {key: _renamed(value, names) for key, value in node.items() if key != "discriminator"}
    return [_renamed(part, names) for part in node] if isinstance(node, list) else node


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
