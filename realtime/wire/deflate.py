"""permessage-deflate (RFC 7692): negotiation, and one connection's compressor and bounded decompressor."""

from __future__ import annotations

from collections.abc import Iterable

from websockets.exceptions import InvalidHeader, NegotiationError, PayloadTooBig, ProtocolError
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.headers import build_extension, parse_extension

from realtime.close import CloseCode
from realtime.errors import PeerViolation
from realtime.wire.frames import encode_frame

__all__ = ["Deflate", "negotiate"]

#: Windows of 4 KiB and a small compressor state: about 32 KiB for each connection instead of 300 KiB.
_FACTORY = ServerPerMessageDeflateFactory(
    server_max_window_bits=12,
    client_max_window_bits=12,
    compress_settings={"memLevel": 5},
)


class Deflate:
    """Compresses and decompresses the messages of one connection."""

    __slots__ = ("_extension",)

    def __init__(self, extension: PerMessageDeflate) -> None:
        self._extension = extension

    def inflate(self, opcode: int, payload: bytes, *, fin: bool, first: bool, allowance: int | None) -> bytes:
        """Return the decompressed payload of one frame.

        Args:
            opcode: opcode of the frame.
            payload: its unmasked payload.
            fin: whether it is the last frame of the message.
            first: whether it is the first one.
            allowance: how many bytes the message may still have; None for no limit.

        Raises:
            PeerViolation: 1009 as soon as the output would pass ``allowance``, 1002 for broken data.
        """
        # zlib takes 0 for "no limit".
        limit = None if allowance is None else max(allowance, 1)
        try:
            frame = self._extension.decode(Frame(Opcode(opcode), payload, fin, first), max_size=limit)
        except PayloadTooBig:
            raise PeerViolation(CloseCode.MESSAGE_TOO_BIG, "the message is too large") from None
        except ProtocolError:
            raise PeerViolation(CloseCode.PROTOCOL_ERROR, "the compressed data is broken") from None
        if allowance is not None and len(frame.data) > allowance:
            raise PeerViolation(CloseCode.MESSAGE_TOO_BIG, "the message is too large")
        return bytes(frame.data)

    def encode(self, opcode: int, payload: bytes) -> bytes:
        """Return the compressed frame of a whole message."""
        frame = self._extension.encode(Frame(Opcode(opcode), payload))
        return encode_frame(opcode, bytes(frame.data), rsv1=True)


def negotiate(offers: Iterable[str]) -> tuple[str, Deflate] | None:
    """Choose the first acceptable offer of permessage-deflate (RFC 7692, 5).

    Args:
        offers: the values of the request's ``Sec-WebSocket-Extensions`` headers.

    Returns:
        The value of the response header and the extension, or None to go on without compression; an offer that
        cannot be parsed counts as none.
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
