"""What of a struct stands on the wire: the tag in ``type``, and the client's reference in ``ref``."""

from __future__ import annotations

import functools
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from realtime.engine.protocol.errors import DeclarationError

__all__ = ["KEPT_TYPES", "REF", "TAG", "MessageAck", "MessageError", "WireType", "tag_of", "union_members", "wire_type"]

#: The field with the name of a message's type.
TAG = "type"

#: The field with the client's reference, which the answer repeats.
REF = "ref"

#: Struct types whose form is kept. A project has some dozens.
KEPT_TYPES = 4096


class MessageAck(msgspec.Struct, tag_field=TAG, tag="Ack", frozen=True):
    """A message with a ref was handled, and there is nothing to return."""

    ref: str


class MessageError(msgspec.Struct, tag_field=TAG, tag="Error", frozen=True):
    """A message had no effect; the connection and all other messages are not touched."""

    #: For a client's program: ``invalid_message``, ``forbidden``, ``rate_limited``, ``timeout``, or an endpoint's own.
    code: Annotated[str, msgspec.Meta(examples=["invalid_message"])]
    #: What was wrong, for the developer of the client.
    detail: Annotated[str, msgspec.Meta(examples=["choice: this field is required."])]
    #: That of the message, where it had one that could be read.
    ref: str | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class WireType:
    """How the structs of one type stand on the wire.

    Args:
        tag: the value of the field ``type``.
        is_tagged: whether msgspec writes the tag, because the struct states it.
        ref_field: the attribute of a field that is called ``ref`` on the wire; empty without one.
        forbids_unknown: whether it accepts no field that it does not state.
    """

    tag: str
    is_tagged: bool
    ref_field: str
    forbids_unknown: bool


@functools.lru_cache(maxsize=KEPT_TYPES)
def wire_type(struct: Any) -> WireType:
    """Return how a struct type, or a parametrised generic one, stands on the wire.

    Raises:
        DeclarationError: if it cannot be a message; the text says what to do.
    """
    plain = typing.get_origin(struct) or struct
    if not (isinstance(plain, type) and issubclass(plain, msgspec.Struct)):
        raise DeclarationError(f"{_name(struct)} is no msgspec.Struct")
    config = plain.__struct_config__
    if config.array_like:
        raise DeclarationError(f"{plain.__name__} is array_like: an array has no place for its type and a ref")
    fields = dict(zip(plain.__struct_encode_fields__, plain.__struct_fields__, strict=True))
    tag = config.tag
    if tag is not None and (config.tag_field != TAG or not isinstance(tag, str)):
        raise DeclarationError(
            f"{plain.__name__} states the tag {tag!r} in the field {config.tag_field!r}: a message's tag is a string "
            f"in the field {TAG!r}; leave tag and tag_field out, or state tag={plain.__name__!r}"
        )
    if tag is None and TAG in fields:
        raise DeclarationError(
            f"{plain.__name__} has a field {TAG!r}, which is the place of the message's tag: rename the field, "
            f"or leave it out (the tag is {plain.__name__!r})"
        )
    return WireType(
        tag=plain.__name__ if tag is None else tag,
        is_tagged=tag is not None,
        ref_field=fields.get(REF, ""),
        forbids_unknown=bool(config.forbid_unknown_fields),
    )


def tag_of(struct: Any) -> str:
    """Return the tag of a struct type: the one that it states, or its name."""
    return wire_type(struct).tag


def union_members(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, also of one with a name (``type``), or the one type that it is."""
    while hasattr(annotation, "__value__"):
        annotation = annotation.__value__
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(member for part in typing.get_args(annotation) for member in union_members(part))
    return (annotation,)


def _name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else repr(annotation)
