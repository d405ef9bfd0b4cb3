"""The two forms of a message: JSON in text, msgpack in binary. Each writes a struct with its tag and a ``ref``."""

from __future__ import annotations

import abc
import functools
import re
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from realtime.engine.typed.wire import KEPT_TYPES, REF, TAG, wire_type

__all__ = ["DECODE_ERRORS", "JSON", "MAX_REF", "MSGPACK", "Format", "Head"]

#: Characters of a ``ref``. A UUID has 36; this leaves room for a client's prefix. Longer ones only cost echo.
MAX_REF = 128

#: What msgspec raises for bytes that are no message: also for the depth of it, and for text that is no UTF-8.
DECODE_ERRORS = (msgspec.MsgspecError, RecursionError, UnicodeError)

#: Characters of a text that is no JSON in which its ``type`` and ``ref`` are looked for.
SCANNED = 1024

#: A member of a JSON object whose value is no array and no object.
_MEMBER = re.compile(r'\s*("(?:[^"\\]|\\.)*")\s*:\s*("(?:[^"\\]|\\.)*"|[-+.\w]+)\s*(?:,|\}|$)')

#: The largest number of members that fits into the first byte of a msgpack map, and the byte for up to 65,535.
_FIXMAP, _FIXMAP_SIZE, _MAP16 = 0x80, 15, 0xDE


#: A text or bytes.
Payload = TypeVar("Payload", str, bytes)


class Head(msgspec.Struct, gc=False):
    """What of a message is read before the rest: which struct it is, and the client's reference."""

    type: str
    ref: Annotated[str, msgspec.Meta(max_length=MAX_REF)] | None = None


class LooseHead(msgspec.Struct, gc=False):
    """What can be read of the head of a message that is wrong in another way."""

    type: Any = None
    ref: Any = None


class Format(abc.ABC, Generic[Payload]):
    """One form of messages.

    Args:
        codec: the module of msgspec that reads and writes it.

    Attributes:
        name: as people know it.
        decode_head: returns the head of a message, or raises one of ``DECODE_ERRORS``.
    """

    name: str

    def __init__(self, codec: Any) -> None:
        self._codec = codec
        self._encode: Callable[[Any], bytes] = codec.Encoder().encode
        self.decode_head: Callable[[Payload], Head] = codec.Decoder(Head).decode
        self._loose: Callable[[Payload], LooseHead] = codec.Decoder(LooseHead).decode
        self._fields: Callable[[Payload], dict[str, msgspec.Raw]] = codec.Decoder(dict[str, msgspec.Raw]).decode

    def decoder(self, struct: Any) -> Callable[[Payload], Any]:
        """Return what decodes messages of one struct type."""
        return self._codec.Decoder(struct).decode

    def decoder_without(self, names: frozenset[str], struct: Any) -> Callable[[Payload], Any]:
        """Return what decodes messages of one struct type that accepts no field ``names``."""
        decode = self._codec.Decoder(struct).decode

        def decode_rest(payload: Payload) -> Any:
            fields = self._fields(payload)
            return decode(self._encode({name: value for name, value in fields.items() if name not in names}))

        return decode_rest

    def read_head(self, payload: Payload) -> LooseHead:
        """Return what can be read of the head of a payload that is no message."""
        try:
            return self._loose(payload)
        except DECODE_ERRORS:
            return LooseHead()

    @abc.abstractmethod
    def encode(self, message: msgspec.Struct, ref: str | None = None) -> Payload:
        """Return a message with its tag, and with ``ref`` unless it is None."""


class _JSON(Format[str]):
    """JSON, in text messages."""

    name = "JSON"

    def read_head(self, payload: str) -> LooseHead:
        """Also of a text that is no JSON, from what stands before the first array or object in it."""
        try:
            return self._loose(payload)
        except DECODE_ERRORS:
            return _scan(payload[:SCANNED])

    def encode(self, message: msgspec.Struct, ref: str | None = None) -> str:
        head, start, ref_field = _json_form(type(message))
        if ref is not None:
            if ref_field:
                message, ref = replace(message, **{ref_field: ref}), None
            else:
                head = b'%b,"ref":%b' % (head, self._encode(ref))
        data = self._encode(message)
        if start and ref is None:
            return data.decode()
        rest = data[start:] if start else b"," + data[1:] if len(data) > len(b"{}") else b"}"
        return (head + rest).decode()


class _MsgPack(Format[bytes]):
    """msgpack, in binary messages."""

    name = "MessagePack"

    def encode(self, message: msgspec.Struct, ref: str | None = None) -> bytes:
        wire = wire_type(type(message))
        if ref is not None and wire.ref_field:
            message, ref = replace(message, **{wire.ref_field: ref}), None
        data = self._encode(message)
        added = b"" if wire.is_tagged else self._encode(TAG) + self._encode(wire.tag)
        count = 0 if wire.is_tagged else 1
        if ref is not None:
            added += self._encode(REF) + self._encode(ref)
            count += 1
        return _with_members(data, count, added) if count else data


@functools.lru_cache(maxsize=KEPT_TYPES)
def _json_form(struct: type[msgspec.Struct]) -> tuple[bytes, int, str]:
    """Return the beginning of each message of a type, its length if msgspec writes it, and the field of its ref."""
    wire = wire_type(struct)
    head = b'{"type":' + msgspec.json.encode(wire.tag)
    return head, len(head) if wire.is_tagged else 0, wire.ref_field


def _scan(text: str) -> LooseHead:
    """Return the type and the ref of a text that is no JSON, if they stand before the first array or object in it."""
    head = LooseHead()
    position = len(text) - len(text.lstrip())
    if not text.startswith("{", position):
        return head
    position += 1
    while (member := _MEMBER.match(text, position)) is not None:
        position = member.end()
        try:
            name, value = (msgspec.json.decode(part) for part in member.groups())
        except DECODE_ERRORS:
            break
        if name in (TAG, REF):
            setattr(head, name, value)
    return head


def _with_members(data: bytes, count: int, added: bytes) -> bytes:
    """Return a msgpack map with ``count`` encoded members in front of its own."""
    if data[0] == _MAP16:
        size, start = int.from_bytes(data[1:3], "big"), 3
    else:
        size, start = data[0] - _FIXMAP, 1
    size += count
    head = bytes([_FIXMAP + size]) if size <= _FIXMAP_SIZE else bytes([_MAP16]) + size.to_bytes(2, "big")
    return head + added + data[start:]


JSON = _JSON(msgspec.json)
MSGPACK = _MsgPack(msgspec.msgpack)
