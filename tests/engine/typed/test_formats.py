"""Structs as JSON and as msgpack, with their tag and a reference."""

from __future__ import annotations

import datetime
import json
from typing import Any, Generic, TypeVar

import msgspec
import pytest

from realtime.engine.protocol.errors import DeclarationError, InvalidMessage
from realtime.engine.typed.decoder import MessageDecoder
from realtime.engine.typed.formats import JSON, MSGPACK
from realtime.engine.typed.wire import MessageAck, MessageError, union_members, wire_type

T = TypeVar("T")


class Empty(msgspec.Struct):
    pass


class Tagged(msgspec.Struct, tag='a "tag"'):
    number: int = 0


class EmptyTagged(msgspec.Struct, tag=True):
    pass


class Renamed(msgspec.Struct, rename="camel"):
    some_field: int
    left_out: int | msgspec.UnsetType = msgspec.UNSET


class OwnRef(msgspec.Struct, frozen=True):
    number: int
    reference: str | None = msgspec.field(name="ref", default=None)


class Native(msgspec.Struct, tag=True):
    data: bytes
    at: datetime.datetime


class Forbidding(msgspec.Struct, forbid_unknown_fields=True):
    number: int


AT = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)

#: A struct, its fields on the wire without a reference, and with one.
WIRE: list[tuple[Any, dict[str, Any]]] = [
    (Empty(), {"type": "Empty"}),
    (EmptyTagged(), {"type": "EmptyTagged"}),
    (Tagged(5), {"type": 'a "tag"', "number": 5}),
    (Renamed(1), {"type": "Renamed", "someField": 1}),
    (Forbidding(1), {"type": "Forbidding", "number": 1}),
    (MessageAck("x"), {"type": "Ack", "ref": "x"}),
    (MessageError("c", "d"), {"type": "Error", "code": "c", "detail": "d"}),
    (OwnRef(1), {"type": "OwnRef", "number": 1, "ref": None}),
]


@pytest.mark.parametrize("ref", [None, "", "r1", '"\\\u2028é😀', "r" * 128])
@pytest.mark.parametrize(("message", "fields"), WIRE)
def test_a_struct_has_its_tag_and_the_reference_once(message, fields, ref) -> None:
    expected = fields if ref is None else {**fields, "ref": ref}
    text, data = JSON.encode(message, ref), MSGPACK.encode(message, ref)
    assert json.loads(text, object_pairs_hook=list) == list(json.loads(text).items())  # no name twice
    assert json.loads(text) == expected
    assert msgspec.msgpack.decode(data) == expected
    assert text.startswith('{"type":"')


@pytest.mark.parametrize("ref", [None, "r1"])
@pytest.mark.parametrize("message", [row[0] for row in WIRE if not hasattr(row[0], "ref")])
@pytest.mark.parametrize("form", [JSON, MSGPACK], ids=["JSON", "msgpack"])
def test_what_is_encoded_is_decoded_to_the_same(form, message, ref) -> None:
    head, decoded = MessageDecoder([type(message)], form).decode(form.encode(message, ref))
    assert head.ref == ref
    assert decoded == (message if ref is None or not isinstance(message, OwnRef) else OwnRef(1, ref))
    assert type(decoded) is type(message)


def test_msgpack_has_bytes_and_times_of_its_own() -> None:
    message = Native(b"\x00\xff", AT)
    assert msgspec.msgpack.decode(MSGPACK.encode(message)) == {"type": "Native", "data": b"\x00\xff", "at": AT}
    assert json.loads(JSON.encode(message)) == {"type": "Native", "data": "AP8=", "at": "2026-01-31T12:00:00Z"}


@pytest.mark.parametrize("count", [0, 13, 14, 15, 16, 17, 300])
@pytest.mark.parametrize("ref", [None, "r"])
def test_a_msgpack_map_of_any_size_gets_more_members(count, ref) -> None:
    names = [f"f{number}" for number in range(count)]
    message = msgspec.defstruct("Wide", [(name, int, 7) for name in names])()
    expected = {"type": "Wide", **dict.fromkeys(names, 7), **({} if ref is None else {"ref": ref})}
    assert msgspec.msgpack.decode(MSGPACK.encode(message, ref)) == expected


@pytest.mark.parametrize("value", [7, "text", {"type": "Vote"}, [Empty()], None])
def test_what_is_no_struct_cannot_be_sent(value) -> None:
    with pytest.raises(DeclarationError, match=r"no msgspec\.Struct"):
        JSON.encode(value)


def test_the_members_of_a_union() -> None:
    assert union_members(Empty | Tagged) == (Empty, Tagged)
    assert union_members(Empty) == (Empty,)
    assert union_members(Empty | None) == (Empty, type(None))


def test_a_generic_type_has_the_name_of_its_origin() -> None:
    class Page(msgspec.Struct, Generic[T]):
        items: list[T]

    assert wire_type(Page[int]).tag == "Page"


#: msgpack that is no message, a part of the detail, the reference that is answered.
INVALID: list[tuple[bytes, str, str | None]] = [
    (b"", "not valid messagepack", None),
    (b"\xc1", "not valid messagepack", None),
    (b"\x80", "type: this field is required", None),
    (b"\x90", "expected `object`, got `array`", None),
    (b"\xdf\xff\xff\xff\xff", "not valid messagepack", None),
    (msgspec.msgpack.encode({"type": "Nobody", "ref": "r"}), "type: invalid value 'nobody'", "r"),
    (msgspec.msgpack.encode({"type": "Forbidding", "ref": "r"}), "number: this field is required", "r"),
    (msgspec.msgpack.encode({"type": "Forbidding", "number": 1, "ref": 5}), "ref: expected `str", None),
    (msgspec.msgpack.encode({"type": "Forbidding", "number": 1, "x": 1, "ref": "r"}), "x: there is no such", "r"),
    (msgspec.msgpack.encode({"type": "Forbidding", "number": "1", "ref": "r"}), "number: expected `int`", "r"),
    (b"\x82\xa4type\xaaForbidding\xa3ref\xa2\xff\xff", "not valid utf-8", None),
    (b"\x82\xa4type\xaaForbidding\xa1x" + b"\x91" * 100_000, "nested too deeply", None),
]


@pytest.mark.parametrize(("data", "detail", "ref"), INVALID)
def test_msgpack_that_is_no_message_is_explained(data, detail, ref) -> None:
    with pytest.raises(InvalidMessage) as caught:
        MessageDecoder([Forbidding], MSGPACK).decode(data)
    assert detail in caught.value.detail.lower()
    assert caught.value.ref == ref
