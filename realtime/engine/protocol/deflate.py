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

#: The end of a message, which a sender cuts off (RFC 7692, 7.2.1 and 7.2.2).
EMPTY_BLOCK = b"\x00\x00\xff\xff"

#: Windows of 4 KiB and a small compressor state: about 32 KiB for each connection instead of 300 KiB.
_FACTORY = ServerPerMessageDeflateFactory(
    server_max_window_bits=12,
    client_max_window_bits=12,
    compress_settings={"memLevel": 5},
)


class Deflate:
    """Compresses and decompresses the messages of one connection.

    The decompressor is the project's own, for that of the extension inflates a frame at once.

    Attributes:
        has_more: whether ``inflate()`` returns more without further data.
    """

    __slots__ = ("_decoder", "_extension", "has_more")

    def __init__(self, extension: PerMessageDeflate) -> None:
        self._extension = extension
        self._decoder: Any = None
        self.has_more = False

    def begin(self) -> None:
        """Begin to decompress a message."""
        if self._decoder is None or self._extension.remote_no_context_takeover:
            self._decoder = zlib.decompressobj(wbits=-self._extension.remote_max_window_bits)

    def inflate(self, data: bytes, limit: int) -> bytes:
        """Return at most ``limit`` bytes that further data inflates to; ``EMPTY_BLOCK`` is the end of a message.

        Raises:
            PeerViolation: 1002 for broken data.
        """
        try:
            piece: bytes = self._decoder.decompress(self._decoder.unconsumed_tail + data, limit)
        except zlib.error:
            raise PeerViolation(CloseCode.PROTOCOL_ERROR, "the compressed data is broken") from None
        # zlib may hold back what has not fitted, although it has taken all of the data.
        self.has_more = bool(self._decoder.unconsumed_tail) or len(piece) == limit
        return piece

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
