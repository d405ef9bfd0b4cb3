"""Bytes of the peer turned into whole messages and control frames.

A frame is judged by its header; its payload is unmasked, inflated, checked and moved to the message as it arrives. So
what is held is never more than the message that the limits allow.
"""

from __future__ import annotations

import codecs
from dataclasses import KW_ONLY, dataclass, field

from realtime.engine.protocol.close import MAX_CONTROL_PAYLOAD, CloseCode
from realtime.engine.protocol.deflate import EMPTY_BLOCK, Deflate
from realtime.engine.protocol.errors import PeerViolation
from realtime.engine.protocol.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MASK_SIZE,
    MASKED,
    TEXT,
    ControlFrame,
    FrameHeader,
    read_header,
)
from realtime.engine.protocol.policy import Limits

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the C extension
    from websockets.utils import apply_mask

#: Compressed and inflated bytes that are handled before other connections get a turn: a millisecond of work at most.
INFLATED_PER_TURN = 128 * 1024

#: Bytes of a payload that are given to zlib at once, which copies what it does not take.
PAYLOAD_SLICE = 16 * 1024

#: What the reader yields: a text message, a binary message, or a control frame.
Item = str | bytes | ControlFrame

_Utf8Decoder = codecs.getincrementaldecoder("utf-8")

#: First byte of a text or binary message that is one uncompressed frame.
_WHOLE_TEXT = 0x80 | TEXT
_WHOLE = (_WHOLE_TEXT, 0x80 | BINARY)
_SHORT_HEADER = 2 + MASK_SIZE


@dataclass(slots=True, eq=False, repr=False)
class MessageReader:
    """Reads messages of one connection; call ``next()`` until it returns None.

    A compressed message is inflated in turns, so that a small frame of a large message holds up no other connection:
    ``next()`` also returns None when a turn's work is done, and the next call begins another one.

    Attributes:
        data: received bytes that are not parsed yet; empty once all are.
        is_inflating: whether ``next()`` has stopped at the end of a turn, with more to inflate.
        unfinished: number of the message or frame in whose middle ``data`` ends, None between messages. By it
            a caller distinguishes one slow message from many quick ones.
    """

    _limits: Limits
    _deflate: Deflate | None = None
    _: KW_ONLY
    data: bytes = b""
    is_inflating: bool = False
    unfinished: int | None = None
    _count: int = 0  # of finished messages, and of control frames between messages
    _short_limit: int = MAX_CONTROL_PAYLOAD
    _position: int = 0
    _header: FrameHeader | None = None  # of the data frame that is being read
    _mask: bytes = b""
    _remaining: int = 0  # bytes of its payload; negative once all were given to zlib
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
        """Keep received bytes for a later ``next()``."""
        self.data = self.data[self._position :] + data
        self._position = 0

    def next(self, data: bytes = b"") -> Item | None:
        """Take received bytes, and return the next message or control frame; None when more bytes or a turn are needed.

        Raises:
            PeerViolation: the bytes break RFC 6455 or a limit. Fail the connection with its code, and do not use the
                reader again.
        """
        if data:
            if self.data:
                self.feed(data)
            else:
                self.data = data
        # The common case first: a short, masked, whole message.
        data, start = self.data, self._position
        try:
            if self._opcode is None and len(data) - start >= _SHORT_HEADER:
                first, length = data[start], data[start + 1] - MASKED
                end = start + _SHORT_HEADER + length
                if first in _WHOLE and 0 <= length <= self._short_limit and end <= len(data):
                    payload = apply_mask(data[start + _SHORT_HEADER : end], data[start + 2 : start + _SHORT_HEADER])
                    self._count += 1
                    if end < len(data):
                        self._position = end
                    else:
                        self.data, self._position, self.unfinished = b"", 0, None
                    return payload.decode() if first == _WHOLE_TEXT else payload
            return self._next_frame_by_frame()
        except UnicodeDecodeError:
            raise PeerViolation(CloseCode.INVALID_DATA, "the text is not UTF-8") from None

    def _next_frame_by_frame(self) -> Item | None:
        item: Item | None = None
        while item is None and (header := self._header or self._begin_frame()) is not None:
            if header.opcode >= CLOSE:
                item = ControlFrame(header.opcode, self._take(header.length))
            elif not (self._inflate(header) if self._compressed else self._collect()):
                break
            elif header.fin:
                item = self._finish_message()
            self._header = None
        if item is None:
            self._turn = INFLATED_PER_TURN
        elif self._opcode is None:
            self._count += 1
        if self._position == len(self.data):
            self.data, self._position = b"", 0
        self.unfinished = self._count if self.data or self._opcode is not None else None
        return item

    def _begin_frame(self) -> FrameHeader | None:
        """Return the header of the next frame, once its masking key, and all of a control frame, has arrived."""
        header = read_header(
            self.data,
            self._position,
            accept_unmasked=self._limits.accept_unmasked_frames,
            compression=self._deflate is not None,
        )
        if header is None:
            return None
        is_data = header.opcode < CLOSE
        if is_data:
            self._check_data_frame(header)
        end = self._position + header.size
        if len(self.data) < (end if is_data else end + header.length):
            return None
        self._mask = self.data[end - MASK_SIZE : end] if header.masked else b""
        self._position = end
        self._header = header
        self._remaining = header.length
        if is_data:
            self._fragments += 1
            if header.opcode != CONTINUATION:
                self._opcode = header.opcode
                self._compressed = header.rsv1
                self._utf8 = _Utf8Decoder() if header.opcode == TEXT else None
                if header.rsv1 and self._deflate is not None:
                    self._deflate.begin()
        return header

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

    def _take(self, size: int) -> bytes:
        """Return the next bytes of the frame's payload, unmasked: at most ``size``, and none before they arrive."""
        header, start = self._header, self._position
        assert header is not None
        piece = self.data[start : start + min(size, self._remaining)]
        if self._mask and piece:
            offset = (header.length - self._remaining) % MASK_SIZE
            piece = apply_mask(piece, self._mask[offset:] + self._mask[:offset])
        self._position += len(piece)
        self._remaining -= len(piece)
        return piece

    def _collect(self) -> bool:
        """Move what has arrived of the frame to the message; return whether that was all of it."""
        self._append(self._take(self._remaining))
        return not self._remaining

    def _inflate(self, header: FrameHeader) -> bool:
        """Inflate what has arrived of the frame, as far as this turn allows; return whether that was all of it."""
        deflate, limit = self._deflate, self._limits.max_message_size
        assert deflate is not None
        self.is_inflating = False
        while deflate.has_more or self._remaining >= 0:
            if self._turn <= 0:
                self.is_inflating = True
                return False
            data = b""
            if not deflate.has_more:
                data = self._take(PAYLOAD_SLICE)
                if self._remaining and not data:
                    return False
                if not self._remaining:
                    self._remaining = -1
                    data += EMPTY_BLOCK if header.fin else b""
            room = INFLATED_PER_TURN if limit is None else limit - len(self._message)
            # One byte more than there is room for is enough to know that the message is too large.
            piece = deflate.inflate(data, min(room + 1, INFLATED_PER_TURN))
            if limit is not None and len(piece) > room:
                raise PeerViolation(CloseCode.MESSAGE_TOO_BIG, "the message is too large")
            self._turn -= len(data) + len(piece)
            self._append(piece)
        return True

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
