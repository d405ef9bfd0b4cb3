"""Bytes of the peer turned into whole messages and control frames.

A frame is judged by its header; its payload is unmasked, checked and moved to the message as it arrives. So what is
held is never more than the message that the limits allow.
"""

from __future__ import annotations

import codecs
from dataclasses import KW_ONLY, dataclass, field

from realtime.engine.protocol.close import CloseCode
from realtime.engine.protocol.deflate import Deflate
from realtime.engine.protocol.errors import PeerViolation
from realtime.engine.protocol.frames import (
    BINARY,
    CLOSE,
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
from realtime.engine.protocol.policy import Limits

__all__ = ["INFLATED_PER_TURN", "Item", "MessageReader"]

#: Compressed and inflated bytes that are handled before other connections get a turn: a millisecond of work at most.
INFLATED_PER_TURN = 128 * 1024

#: What the reader yields: a text message, a binary message, or a control frame.
Item = str | bytes | ControlFrame

_Utf8Decoder = codecs.getincrementaldecoder("utf-8")

#: First byte of a text or binary message that is one uncompressed frame.
_WHOLE_TEXT = 0x80 | TEXT
_WHOLE = (_WHOLE_TEXT, 0x80 | BINARY)
_SHORT_HEADER = 2 + MASK_SIZE


@dataclass(slots=True, eq=False, repr=False)
class MessageReader:
    """Reads messages of one connection; call ``feed()``, then ``next()`` until it returns None.

    A compressed message is inflated in turns, so that a small frame of a large message holds up no other connection:
    ``next()`` also returns None when a turn's work is done. ``feed()`` begins the next turn, also without new bytes.

    Attributes:
        is_inflating: whether ``next()`` has stopped in the middle of a compressed frame that has arrived as a whole.
        unfinished: whether the last ``next()`` stopped in the middle of a message or a frame.
        completed: grows with each finished message (or control frame between messages), so that a caller can tell one
            slow message from many quick ones.
    """

    _limits: Limits
    _deflate: Deflate | None = None
    _: KW_ONLY
    is_inflating: bool = False
    unfinished: bool = False
    completed: int = 0
    _short_limit: int = MAX_CONTROL_PAYLOAD
    _data: bytes = b""
    _position: int = 0
    _header: FrameHeader | None = None  # of the frame that is being read or inflated
    _mask: bytes = b""
    _remaining: int = 0
    _payload: bytearray = field(default_factory=bytearray)  # of a control frame or a compressed frame
    _opcode: int | None = None  # of the message that is being assembled
    _compressed: bool = False
    _fragments: int = 0
    _message: bytearray = field(default_factory=bytearray)
    _utf8: codecs.IncrementalDecoder | None = None
    _turn: int = INFLATED_PER_TURN

    def __post_init__(self) -> None:
        for size in (self._limits.max_frame_size, self._limits.max_message_size):
            if size is not None:
                self._short_limit = min(self._short_limit, size)

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
            PeerViolation: the bytes break RFC 6455 or a limit. Fail the connection with its code, and do not use the
                reader again.
        """
        # The common cases first: a short, masked, whole message, and nothing behind it.
        data, start = self._data, self._position
        try:
            if self._header is None and self._opcode is None:
                if start == len(data):
                    self._data, self._position = b"", 0
                    self.unfinished = False
                    return None
                if len(data) - start >= _SHORT_HEADER:
                    first, length = data[start], data[start + 1] - MASKED
                    end = start + _SHORT_HEADER + length
                    if first in _WHOLE and 0 <= length <= self._short_limit and end <= len(data):
                        payload = apply_mask(data[start + _SHORT_HEADER : end], data[start + 2 : start + _SHORT_HEADER])
                        self._position = end
                        self.completed += 1
                        return payload.decode() if first == _WHOLE_TEXT else payload
            return self._next_frame_by_frame()
        except UnicodeDecodeError:
            raise PeerViolation(CloseCode.INVALID_DATA, "the text is not UTF-8") from None

    def _next_frame_by_frame(self) -> Item | None:
        while self._header is not None or self._begin_frame():
            if not self.is_inflating:
                self._take_payload()
                if self._remaining:
                    self.unfinished = True
                    return None
            item = self._end_frame()
            if self.is_inflating:
                return None
            if item is not None:
                self.completed += self._opcode is None
                return item
        is_empty = self._position == len(self._data)
        self.unfinished = not is_empty or self._opcode is not None
        if is_empty:
            self._data, self._position = b"", 0
        return None

    def _begin_frame(self) -> bool:
        header = read_header(
            self._data,
            self._position,
            accept_unmasked=self._limits.accept_unmasked_frames,
            compression=self._deflate is not None,
        )
        if header is None:
            return False
        if header.opcode < CLOSE:
            self._check_data_frame(header)
        end = self._position + header.size
        if len(self._data) < end:
            return False
        self._mask = self._data[end - MASK_SIZE : end] if header.masked else b""
        self._position = end
        self._header = header
        self._remaining = header.length
        if header.opcode < CLOSE:
            self._fragments += 1
            if header.opcode != CONTINUATION:
                self._opcode = header.opcode
                self._compressed = header.rsv1
                self._utf8 = _Utf8Decoder() if header.opcode == TEXT else None
        return True

    def _check_data_frame(self, header: FrameHeader) -> None:
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

    def _take_payload(self) -> None:
        """Move what has arrived of the current frame."""
        header, start = self._header, self._position
        assert header is not None
        end = min(start + self._remaining, len(self._data))
        piece = self._data[start:end]
        if header.masked and piece:
            offset = (header.length - self._remaining) % MASK_SIZE
            piece = apply_mask(piece, self._mask[offset:] + self._mask[:offset])
        self._position = end
        self._remaining -= end - start
        if self._compressed or header.opcode >= CLOSE:
            self._payload += piece
        else:
            self._append(piece)

    def _end_frame(self) -> Item | None:
        """Return the item that the current frame completes, if it completes one."""
        header = self._header
        assert header is not None
        if self._compressed and header.opcode < CLOSE:
            self._inflate(header)
            if self.is_inflating:
                return None
        self._header = None
        if header.opcode >= CLOSE:
            payload, self._payload = bytes(self._payload), bytearray()
            return ControlFrame(header.opcode, payload)
        return self._finish_message() if header.fin else None

    def _inflate(self, header: FrameHeader) -> None:
        """Inflate the frame as far as this turn allows."""
        deflate, limit = self._deflate, self._limits.max_message_size
        assert deflate is not None
        if not self.is_inflating:
            payload, self._payload = bytes(self._payload), bytearray()
            deflate.feed(payload, fin=header.fin, first=header.opcode != CONTINUATION)
            self.is_inflating = True
        while deflate.has_more:
            if self._turn <= 0:
                return
            room = INFLATED_PER_TURN if limit is None else limit - len(self._message)
            # One byte more than there is room for is enough to know that the message is too large.
            piece, taken = deflate.inflate(min(room + 1, INFLATED_PER_TURN))
            if limit is not None and len(piece) > room:
                raise PeerViolation(CloseCode.MESSAGE_TOO_BIG, "the message is too large")
            self._turn -= taken + len(piece)
            self._append(piece)
        self.is_inflating = False

    def _append(self, piece: bytes) -> None:
        self._message += piece
        if self._utf8 is not None:
            self._utf8.decode(piece)

    def _finish_message(self) -> str | bytes:
        message, self._message = self._message, bytearray()
        utf8, self._utf8 = self._utf8, None
        self._opcode = None
        self._compressed = False
        self._fragments = 0
        if utf8 is None:
            return bytes(message)
        utf8.decode(b"", True)
        return message.decode()
