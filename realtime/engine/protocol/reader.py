"""Bytes of the peer turned into whole messages and control frames.

A frame is judged by its header; its payload is unmasked, checked and moved to the message as it arrives, so that what
is held is never more than the message that the limits allow.
"""

from __future__ import annotations

import codecs

from realtime.engine.close import CloseCode
from realtime.engine.errors import PeerViolation
from realtime.engine.policy import Limits
from realtime.engine.protocol.deflate import Deflate
from realtime.engine.protocol.frames import (
    BINARY,
    CONTINUATION,
    MASK_SIZE,
    MASKED,
    MAX_CONTROL_PAYLOAD,
    TEXT,
    ControlFrame,
    FrameHeader,
    apply_mask,
    read_header,
)

__all__ = ["INFLATED_PER_TURN", "Item", "MessageReader"]

#: Compressed and inflated bytes that are handled before other connections get a turn: a millisecond of work at most.
INFLATED_PER_TURN = 128 * 1024

#: What the reader yields: a text message, a binary message, or a control frame.
Item = str | bytes | ControlFrame

_Utf8Decoder = codecs.getincrementaldecoder("utf-8")

#: First byte of a text or binary message that is one uncompressed frame.
_WHOLE_TEXT = 0x80 | TEXT
_WHOLE_BINARY = 0x80 | BINARY
_WHOLE = (_WHOLE_TEXT, _WHOLE_BINARY)
_SHORT_HEADER = 2 + MASK_SIZE


class MessageReader:
    """Reads messages of one connection; call ``feed()``, then ``next()`` until it returns None.

    A compressed message is inflated in turns, so that a small frame of a large message holds up nobody else:
    ``next()`` also returns None when a turn's work is done. Then ``is_inflating`` is true, and ``begin_turn()`` lets
    it go on.

    Args:
        limits: sizes and number of fragments, and whether frames may be unmasked.
        deflate: the connection's decompressor, where compression was negotiated.

    Attributes:
        unfinished: whether the last ``next()`` stopped in the middle of a message or a frame.
        completed: grows with each finished message (or control frame between messages), so that a caller can tell one
            slow message from many quick ones.
    """

    __slots__ = (
        "_compressed",
        "_data",
        "_deflate",
        "_fragments",
        "_header",
        "_inflating",
        "_limits",
        "_message",
        "_opcode",
        "_payload",
        "_position",
        "_remaining",
        "_short_limit",
        "_turn",
        "_utf8",
        "completed",
        "unfinished",
    )

    def __init__(self, limits: Limits, deflate: Deflate | None = None) -> None:
        self._limits = limits
        self._deflate = deflate
        self._short_limit = min(
            MAX_CONTROL_PAYLOAD,
            *(size for size in (limits.max_frame_size, limits.max_message_size) if size is not None),
            MAX_CONTROL_PAYLOAD,
        )
        self._data = b""
        self._position = 0
        self._header: FrameHeader | None = None
        self._remaining = 0
        self._payload = bytearray()  # of a control frame or a compressed frame
        self._opcode: int | None = None  # of the message that is being assembled
        self._compressed = False
        self._inflating: FrameHeader | None = None
        self._turn = INFLATED_PER_TURN
        self._fragments = 0
        self._message = bytearray()
        self._utf8: codecs.IncrementalDecoder | None = None
        self.unfinished = False
        self.completed = 0

    @property
    def held(self) -> int:
        """How many received bytes have not been looked at."""
        return len(self._data) - self._position

    @property
    def is_inflating(self) -> bool:
        """Whether ``next()`` has stopped in the middle of a compressed frame that has arrived as a whole."""
        return self._inflating is not None

    def begin_turn(self) -> None:
        """Let ``next()`` inflate once more as much as one turn of the event loop has time for."""
        self._turn = INFLATED_PER_TURN

    def feed(self, data: bytes) -> None:
        """Take received bytes; a turn begins."""
        self._turn = INFLATED_PER_TURN
        if self._position < len(self._data):
            data = self._data[self._position :] + data
        self._data = data
        self._position = 0

    def next(self) -> Item | None:
        """Return the next message or control frame, None when more bytes or another turn are needed.

        Raises:
            PeerViolation: the bytes break RFC 6455 or a limit; the connection has to be failed with its code, and the
                reader must not be used again.
        """
        # The common cases first: a short, masked, whole message, and nothing behind it.
        data, start = self._data, self._position
        if self._header is None and len(data) - start >= _SHORT_HEADER:
            first, length = data[start], data[start + 1] - MASKED
            if first in _WHOLE and 0 <= length <= self._short_limit and self._opcode is None:
                end = start + _SHORT_HEADER + length
                if end <= len(data):
                    payload = apply_mask(data[start + _SHORT_HEADER : end], data[start + 2 : start + _SHORT_HEADER])
                    self._position = end
                    self.completed += 1
                    return _text(payload) if first == _WHOLE_TEXT else payload
        elif start == len(data) and self._header is None and self._opcode is None and self._inflating is None:
            self._data, self._position = b"", 0
            self.unfinished = False
            return None
        return self._next_frame_by_frame()

    def _next_frame_by_frame(self) -> Item | None:
        while True:
            if self._inflating is not None:
                if not self._inflate():
                    return None
                header, self._inflating = self._inflating, None
                if header.fin:
                    self.completed += 1
                    return self._finish_message()
            if self._header is None and not self._begin_frame():
                self.unfinished = self.held > 0 or self._opcode is not None
                if not self.held:
                    self._data, self._position = b"", 0
                return None
            item = self._take_payload()
            if item is not None:
                self.completed += self._opcode is None
                return item
            if self._header is not None:
                self.unfinished = True
                return None

    # Headers

    def _begin_frame(self) -> bool:
        header = read_header(
            self._data,
            self._position,
            accept_unmasked=self._limits.accept_unmasked_frames,
            compression=self._deflate is not None,
            check=self._check_header,
        )
        if header is None:
            return False
        self._position += header.size
        self._header = header
        self._remaining = header.length
        if not header.is_control:
            self._begin_fragment(header)
        return True

    def _check_header(self, header: FrameHeader) -> None:
        if header.is_control:
            return
        if header.opcode == CONTINUATION:
            if self._opcode is None:
                raise PeerViolation(CloseCode.PROTOCOL_ERROR, "there is no message to continue")
        elif self._opcode is not None:
            raise PeerViolation(CloseCode.PROTOCOL_ERROR, "the previous message is not finished")
        limits = self._limits
        if limits.max_frame_size is not None and header.length > limits.max_frame_size:
            raise PeerViolation(CloseCode.MESSAGE_TOO_BIG, f"a frame has at most {limits.max_frame_size} bytes")
        # The compressed length says little about the message; that one is checked while inflating.
        compressed = header.rsv1 or (self._compressed and header.opcode == CONTINUATION)
        whole = len(self._message) + header.length
        if limits.max_message_size is not None and not compressed and whole > limits.max_message_size:
            raise PeerViolation(CloseCode.MESSAGE_TOO_BIG, f"a message has at most {limits.max_message_size} bytes")
        if self._fragments >= limits.max_fragments:
            raise PeerViolation(CloseCode.MESSAGE_TOO_BIG, f"a message has at most {limits.max_fragments} frames")

    def _begin_fragment(self, header: FrameHeader) -> None:
        self._fragments += 1
        if header.opcode != CONTINUATION:
            self._opcode = header.opcode
            self._compressed = header.rsv1
            self._utf8 = _Utf8Decoder() if header.opcode == TEXT else None

    # Payloads

    def _take_payload(self) -> Item | None:
        """Move what has arrived of the current frame; return the item that it completes."""
        header = self._header
        assert header is not None
        piece = self._take_piece(header)
        if header.is_control or self._compressed:
            self._payload += piece
        else:
            self._append(piece)
        if self._remaining:
            return None
        self._header = None
        if header.is_control:
            payload, self._payload = bytes(self._payload), bytearray()
            return ControlFrame(header.opcode, payload)
        if self._compressed:
            self._begin_inflating(header)
            return None
        return self._finish_message() if header.fin else None

    def _take_piece(self, header: FrameHeader) -> bytes:
        start = self._position
        end = min(start + self._remaining, len(self._data))
        piece = self._data[start:end]
        if header.mask and piece:
            offset = (header.length - self._remaining) % MASK_SIZE
            piece = apply_mask(piece, header.mask[offset:] + header.mask[:offset])
        self._position = end
        self._remaining -= end - start
        return piece

    def _begin_inflating(self, header: FrameHeader) -> None:
        assert self._deflate is not None
        payload, self._payload = bytes(self._payload), bytearray()
        self._deflate.feed(payload, fin=header.fin, first=header.opcode != CONTINUATION)
        self._inflating = header

    def _inflate(self) -> bool:
        """Inflate the frame as far as this turn allows; return whether it is whole."""
        deflate, limit = self._deflate, self._limits.max_message_size
        assert deflate is not None
        while deflate.has_more:
            if self._turn <= 0:
                return False
            room = INFLATED_PER_TURN if limit is None else limit - len(self._message)
            # One byte more than there is room for is enough to know that the message is too large.
            piece, taken = deflate.inflate(min(room + 1, INFLATED_PER_TURN))
            if limit is not None and len(piece) > room:
                raise PeerViolation(CloseCode.MESSAGE_TOO_BIG, "the message is too large")
            self._turn -= taken + len(piece)
            self._append(piece)
        return True

    def _append(self, piece: bytes) -> None:
        self._message += piece
        if self._utf8 is not None:
            _check_text(self._utf8, piece, final=False)

    def _finish_message(self) -> str | bytes:
        message, self._message = self._message, bytearray()
        utf8, self._utf8 = self._utf8, None
        self._opcode = None
        self._compressed = False
        self._fragments = 0
        if utf8 is None:
            return bytes(message)
        _check_text(utf8, b"", final=True)
        return message.decode()


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _check_text(decoder: codecs.IncrementalDecoder, piece: bytes, *, final: bool) -> None:
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _not_utf8() -> PeerViolation:
    return PeerViolation(CloseCode.INVALID_DATA, "the text is not UTF-8")
