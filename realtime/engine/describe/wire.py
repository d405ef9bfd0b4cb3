"""Typed messages as a client sees them: structs with their tag and their ``ref`` as fields, for schemas."""

from __future__ import annotations

import functools
import itertools
import re
import typing
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from msgspec.structs import fields

from realtime.engine.typed.formats import MAX_REF
from realtime.engine.typed.wire import KEPT_TYPES, REF, TAG, wire_type

__all__ = ["Names", "wire_struct"]

#: What a schema refers to.
_REFERRED = re.compile(r"'\$ref': '#/\$defs/(\w+)'")

Ref = Annotated[str, msgspec.Meta(max_length=MAX_REF, description="The client's; the answer repeats it.")]


class Names:
    """Names of the messages of one document: no two of its schemas have the same."""

    def __init__(self) -> None:
        self._owners: dict[str, Any] = {}

    def reserve(self, structs: Iterable[Any]) -> None:
        """Keep the names of structs that stand in the document as they are."""
        for struct in structs:
            self._owners.setdefault(struct.__name__, struct)

    def reserve_within(self, structs: Iterable[Any]) -> None:
        """Keep the names of the structs within messages, which have neither tag nor ``ref``."""
        for name in _REFERRED.findall(repr(msgspec.json.schema_components(structs)[1])):
            self._owners.setdefault(name, None)

    def union_of(self, structs: Iterable[Any], endpoint: str) -> Any:
        """Return the union of the structs as they stand on the wire, the last one of each tag; None for none.

        Args:
            structs: struct types.
            endpoint: what the name of a struct begins with if another endpoint has one of its name.
        """
        by_tag = {wire_type(struct).tag: struct for struct in structs}
        if not by_tag:
            return None
        members = tuple(wire_struct(struct, self._name(struct, endpoint)) for struct in by_tag.values())
        return typing.Union[members]  # noqa: UP007  made at run time

    def _name(self, struct: Any, endpoint: str) -> str:
        name = (typing.get_origin(struct) or struct).__name__
        own = f"{endpoint}{name}"
        names = itertools.chain([name, own], (f"{own}{count}" for count in itertools.count(2)))
        return next(each for each in names if self._owners.setdefault(each, struct) is struct)


@functools.lru_cache(maxsize=KEPT_TYPES)
def wire_struct(struct: Any, name: str) -> type[msgspec.Struct]:
    """Return a struct type that states the tag and the ``ref`` of another one; that one itself if it does so.

    Args:
        struct: a struct type, or a parametrised generic one.
        name: of the result.
    """
    wire = wire_type(struct)
    if wire.is_tagged and wire.ref_field and name == struct.__name__:
        return typing.cast("type[msgspec.Struct]", struct)
    plain = typing.get_origin(struct) or struct
    stated: list[Any] = [(field.name, field.type, _field(field)) for field in fields(struct)]
    if not wire.ref_field:
        stated.append((REF, Ref | msgspec.UnsetType, msgspec.UNSET))
    config = plain.__struct_config__
    return msgspec.defstruct(
        name,
        stated,
        namespace={"__doc__": plain.__doc__},
        module=plain.__module__,
        tag=wire.tag,
        tag_field=TAG,
        kw_only=True,
        forbid_unknown_fields=config.forbid_unknown_fields,
        omit_defaults=config.omit_defaults,
    )


def _field(field: Any) -> Any:
    """Return the definition of a field that is like another one."""
    if field.default is not msgspec.NODEFAULT:
        return msgspec.field(name=field.encode_name, default=field.default)
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(name=field.encode_name, default_factory=field.default_factory)
    return msgspec.field(name=field.encode_name)
