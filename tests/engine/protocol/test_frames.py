"""Headers and encoding (RFC 6455, 5.2); the examples are those of section 5.7."""

from __future__ import annotations

import pytest
from websockets.utils import apply_mask as plain_apply_mask

from realtime.engine.protocol.errors import PeerViolation
from realtime.engine.protocol.frames import (
    BINARY,
    PING,
    TEXT,
    FrameHeader,
    encode_close,
    encode_frame,
    parse_close,
    read_header,
)
from realtime.engine.protocol.reader import apply_mask


def header_of(data: bytes, *, accept_unmasked: bool = True, compression: bool = False) -> FrameHeader | None:
    return read_header(data, 0, accept_unmasked=accept_unmasked, compression=compression)


@pytest.mark.parametrize(
    ("opcode", "payload", "frame"),
    [
        (TEXT, b"Hello", bytes.fromhex("810548656c6c6f")),
        (PING, b"Hello", bytes.fromhex("890548656c6c6f")),
        (BINARY, bytes(256), bytes.fromhex("827e0100") + bytes(256)),
        (BINARY, bytes(65536), bytes.fromhex("827f0000000000010000") + bytes(65536)),
        (TEXT, b"", b"\x81\x00"),
        (BINARY, bytes(125), b"\x82\x7d" + bytes(125)),
        (BINARY, bytes(126), b"\x82\x7e\x00\x7e" + bytes(126)),
    ],
)
def test_frame_is_read_and_written_alike(opcode: int, payload: bytes, frame: bytes) -> None:
    assert encode_frame(opcode, payload) == frame
    assert header_of(frame) == FrameHeader(True, False, opcode, len(payload), False, len(frame) - len(payload))


def test_size_of_a_masked_header_is_that_with_its_mask() -> None:
    assert header_of(bytes.fromhex("818537fa213d7f9f4d5158")) == FrameHeader(True, False, TEXT, 5, True, 6)


@pytest.mark.parametrize("size", range(10))
def test_header_that_has_not_arrived_is_none(size: int) -> None:
    whole = b"\x82\xff" + (70_000).to_bytes(8, "big") + b"mask"
    assert header_of(whole[:size]) is None


def test_length_is_known_before_the_mask_has_arrived() -> None:
    assert header_of(b"\x82\xfe\x01\x00") == FrameHeader(True, False, BINARY, 256, True, 8)


def test_compressed_frame_has_rsv1() -> None:
    assert encode_frame(TEXT, b"x", rsv1=True) == b"\xc1\x01x"


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe8bye", "\u0fff".encode().join([b"\x0b\xb8", b""])])
def test_close_payload_is_read_and_written_alike(payload: bytes) -> None:
    code, reason = parse_close(payload)
    assert encode_close(code, reason)[2:] == payload


def test_broken_close_payloads_are_violations() -> None:
    for payload, code in ((b"\x03", 1002), (b"\x03\xed", 1002), (b"\x03\xe8\xff", 1007)):
        with pytest.raises(PeerViolation) as caught:
            parse_close(payload)
        assert caught.value.code == code


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 127, 1000])
def test_masking_in_c_and_in_python_agree(size: int) -> None:
    data = bytes(index % 256 for index in range(size))
    assert apply_mask(data, b"\x01\x02\x03\x04") == plain_apply_mask(data, b"\x01\x02\x03\x04")
