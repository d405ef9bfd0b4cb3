"""permessage-deflate (RFC 7692): negotiation, and one connection's compressor and bounded decompressor."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.headers import build_extension, parse_extension

from realtime.engine.protocol.close import CloseCode
from realtime.engine.protocol.errors import PeerViolation
from realtime.engine.protocol.frames import encode_frame

__all__ = ["Deflate", "negotiate"]

#: The end of a message that is not sent (RFC 7692, 7.2.1).
EMPTY_BLOCK = b"\x00\x00\xff\xff"

#: Bytes of a payload that are given to zlib at once, which copies what it does not take.
PAYLOAD_SLICE = 16 * 1024

#: Windows of 4 KiB and a small compressor state: about 32 KiB for each connection instead of 300 KiB.
_FACTORY = ServerPerMessageDeflateFactory(
    server_max_window_bits=12,
    client_max_window_bits=12,
    compress_settings={"memLevel": 5},
)


class Deflate:
    """Compresses and decompresses the messages of one connection.

    ``feed()`` takes a frame's payload; ``inflate()`` returns what it inflates to, piece by piece. The decompressor is
    the project's own, for that of the extension inflates a frame at once.

    Attributes:
        has_more: whether ``inflate()`` may return more of the frame.
    """

    __slots__ = ("_decoder", "_extension", "_payload", "_position", "has_more")

    def __init__(self, extension: PerMessageDeflate) -> None:
        self._extension = extension
        self._decoder: Any = None
        self._payload = b""
        self._position = 0
        self.has_more = False

    def feed(self, payload: bytes, *, fin: bool, first: bool) -> None:
        """Take the unmasked payload of a message's first, last or another frame; the one before it was inflated."""
        if first and (self._decoder is None or self._extension.remote_no_context_takeover):
            self._decoder = zlib.decompressobj(wbits=-self._extension.remote_max_window_bits)
        # What a sender has cut off the end of the message (RFC 7692, 7.2.2).
        self._payload = payload + EMPTY_BLOCK if fin else payload
        self._position = 0
        self.has_more = True

    def inflate(self, limit: int) -> tuple[bytes, int]:
        """Return the next piece of the frame, of at most ``limit`` bytes, and how many bytes of the payload it takes.

        Raises:
            PeerViolation: 1002 for broken data.
        """
        start = self._position
        data = self._payload[start : start + PAYLOAD_SLICE]
        try:
            piece = self._decoder.decompress(data, limit)
        except zlib.error:
            raise PeerViolation(CloseCode.PROTOCOL_ERROR, "the compressed data is broken") from None
        taken = len(data) - len(self._decoder.unconsumed_tail)
        self._position = start + taken
        # zlib may hold back what has not fitted, although it has taken the whole payload.
        self.has_more = self._position < len(self._payload) or len(piece) == limit
        if not self.has_more:
            self._payload = b""
        return piece, taken

    def encode(self, opcode: int, payload: bytes) -> bytes:
        frame = self._extension.encode(Frame(Opcode(opcode), payload))
        return encode_frame(opcode, bytes(frame.data), rsv1=True)


def negotiate(offers: Iterable[str]) -> tuple[str, Deflate] | None:
    """Choose the first acceptable offer of permessage-deflate (RFC 7692, 5).

    Args:
        offers: the values of the request's ``Sec-WebSocket-Extensions`` headers. One that cannot be parsed is no offer.

    Returns:
        The value of the response header and the extension, or None to go on without compression.
    """
    try:
        extensions = [extension for value in offers for extension in parse_extension(value)]
    except InvalidHeader:
        return None
    for name, parameters in extensions:
        if name != _FACTORY.name:
            continue
        try:
            accepted, extension = _FACTORY.process_request_params(parameters, [])
        except NegotiationError:
            continue
        return build_extension([(name, accepted)]), Deflate(extension)
    return None
