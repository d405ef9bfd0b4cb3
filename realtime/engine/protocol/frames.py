"""Frames as bytes: the header and the verdict on it, the close payload, and encoding (RFC 6455, section 5).

Everything that a header can show to be wrong is found here, before a byte of payload is looked at.
"""

from __future__ import annotations

from typing import NamedTuple

from realtime.engine.protocol.close import MAX_CONTROL_PAYLOAD, CloseCode, is_sendable, truncate_reason
from realtime.engine.protocol.errors import PeerViolation

CONTINUATION, TEXT, BINARY = 0x0, 0x1, 0x2
CLOSE, PING, PONG = 0x8, 0x9, 0xA

_DATA_OPCODES = frozenset({CONTINUATION, TEXT, BINARY})
_CONTROL_OPCODES = frozenset({CLOSE, PING, PONG})

FIN, RSV1, RSV2, RSV3, OPCODE = 0x80, 0x40, 0x20, 0x10, 0x0F
MASKED, LENGTH = 0x80, 0x7F

#: Values of the 7-bit length that announce a longer one (RFC 6455, 5.2).
LENGTH_IN_2_BYTES, LENGTH_IN_8_BYTES = 126, 127
MASK_SIZE = 4


class ControlFrame(NamedTuple):
    """A close, ping or pong frame with its unmasked payload."""

    opcode: int
    payload: bytes


class FrameHeader(NamedTuple):
    """The header of a frame.

    Args:
        fin: whether this is the last frame of its message.
        rsv1: the first reserved bit, which marks a compressed message (RFC 7692, 6).
        opcode: one of the six opcodes.
        length: payload length in bytes.
        masked: whether a masking key ends the header.
        size: length of the header in bytes, with the masking key.
    """

    fin: bool
    rsv1: bool
    opcode: int
    length: int
    masked: bool
    size: int


def read_header(data: bytes, start: int, *, accept_unmasked: bool, compression: bool) -> FrameHeader | None:
    """Return the frame header at ``start``, None while the length is incomplete; the masking key may be missing.

    Args:
        data: received bytes.
        start: position of the header.
        accept_unmasked: whether a frame without a mask is let through.
        compression: whether RSV1 has a meaning on this connection.

    Raises:
        PeerViolation: the header breaks RFC 6455; raised as early as the offending byte has arrived.
    """
    available = len(data) - start
    if available < 2:
        return None
    first, second = data[start], data[start + 1]
    opcode = first & OPCODE
    masked = bool(second & MASKED)
    length = second & LENGTH
    _check_first_bytes(first, opcode, length, compression=compression)
    if not masked and not accept_unmasked:
        raise PeerViolation(CloseCode.PROTOCOL_ERROR, "frames of a client are masked")
    size = 2
    if length >= LENGTH_IN_2_BYTES:
        size = 4 if length == LENGTH_IN_2_BYTES else 10
        if available < size:
            return None
        length = _long_length(data[start + 2 : start + size])
    return FrameHeader(bool(first & FIN), bool(first & RSV1), opcode, length, masked, size + MASK_SIZE * masked)


def _check_first_bytes(first: int, opcode: int, length: int, *, compression: bool) -> None:
    if opcode in _CONTROL_OPCODES:
        if length > MAX_CONTROL_PAYLOAD:
            raise PeerViolation(CloseCode.PROTOCOL_ERROR, "a control frame has at most 125 bytes")
        if not first & FIN:
            raise PeerViolation(CloseCode.PROTOCOL_ERROR, "a control frame is not fragmented")
    elif opcode not in _DATA_OPCODES:
        raise PeerViolation(CloseCode.PROTOCOL_ERROR, f"opcode {opcode} is reserved")
    # RSV1 stands on the first frame of a compressed message only (RFC 7692, 6.1).
    may_have_rsv1 = compression and opcode in (TEXT, BINARY)
    if first & (RSV2 | RSV3) or (first & RSV1 and not may_have_rsv1):
        raise PeerViolation(CloseCode.PROTOCOL_ERROR, "a reserved bit is set")


def _long_length(encoded: bytes) -> int:
    length = int.from_bytes(encoded, "big")
    smallest = LENGTH_IN_2_BYTES if len(encoded) == 2 else 1 << 16
    if length < smallest:
        raise PeerViolation(CloseCode.PROTOCOL_ERROR, "the length is not in its shortest form")
    if length >> 63:
        raise PeerViolation(CloseCode.PROTOCOL_ERROR, "the highest bit of the length is set")
    return length


#: Header of an unmasked, final frame for every short length.
_SHORT_HEADERS = {
    opcode: tuple(bytes((FIN | opcode, length)) for length in range(MAX_CONTROL_PAYLOAD + 1))
    for opcode in (TEXT, BINARY, CLOSE, PING, PONG)
}


def encode_frame(opcode: int, payload: bytes, *, rsv1: bool = False) -> bytes:
    """Return a final frame from a server: unmasked and in one piece; ``rsv1`` marks a compressed payload."""
    length = len(payload)
    if length <= MAX_CONTROL_PAYLOAD and not rsv1:
        return _SHORT_HEADERS[opcode][length] + payload
    first = FIN | (RSV1 if rsv1 else 0) | opcode
    if length <= MAX_CONTROL_PAYLOAD:
        header = bytes((first, length))
    elif length < 1 << 16:
        header = bytes((first, LENGTH_IN_2_BYTES)) + length.to_bytes(2, "big")
    else:
        header = bytes((first, LENGTH_IN_8_BYTES)) + length.to_bytes(8, "big")
    return header + payload


def encode_close(code: int, reason: str = "") -> bytes:
    """Return a close frame; for 1005 it has no payload. A long reason is cut at a character boundary."""
    if code == CloseCode.NO_STATUS:
        return encode_frame(CLOSE, b"")
    return encode_frame(CLOSE, code.to_bytes(2, "big") + truncate_reason(reason).encode())


def parse_close(payload: bytes) -> tuple[int, str]:
    """Return code and reason of a close frame; the code is 1005 where there is none.

    Raises:
        PeerViolation: 1002 for a payload of one byte or a code that may not be sent, 1007 for a
            reason that is not UTF-8 (RFC 6455, 5.5.1 and 7.4).
    """
    if not payload:
        return CloseCode.NO_STATUS, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not is_sendable(code):
        raise PeerViolation(CloseCode.PROTOCOL_ERROR, "the close code is not valid")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise PeerViolation(CloseCode.INVALID_DATA, "the close reason is not UTF-8") from None
