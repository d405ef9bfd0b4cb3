"""permessage-deflate (RFC 7692)."""

from __future__ import annotations

import random
import zlib
from typing import Any

import pytest

from realtime.engine.protocol.deflate import Deflate, negotiate
from realtime.engine.protocol.errors import PeerViolation
from realtime.engine.protocol.frames import TEXT


def agreed(offer: str = "permessage-deflate") -> Deflate:
    result = negotiate([offer])
    assert result is not None
    return result[1]


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        (["permessage-deflate"], "permessage-deflate; server_max_window_bits=12"),
        (
            ["permessage-deflate; client_max_window_bits"],
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            ["permessage-deflate; server_no_context_takeover; server_max_window_bits=10"],
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
        ),
        (
            ["permessage-deflate; server_max_window_bits=8, permessage-deflate"],
            "permessage-deflate; server_max_window_bits=12",
        ),
        (["x-unknown", "permessage-deflate"], "permessage-deflate; server_max_window_bits=12"),
    ],
)
def test_first_acceptable_offer_is_chosen(offers: list[str], answer: str) -> None:
    result = negotiate(offers)
    assert result is not None
    assert result[0] == answer


@pytest.mark.parametrize(
    "offers",
    [[], ["x-unknown"], ["permessage-deflate; nonsense"], ["permessage-deflate; server_max_window_bits=8"], ["=;="]],
)
def test_without_an_acceptable_offer_there_is_no_compression(offers: list[str]) -> None:
    assert negotiate(offers) is None


def test_what_is_compressed_is_inflated_again() -> None:
    server, client = agreed(), zlib.decompressobj(wbits=-12)
    for message in (b"Hello", b"", b"Hello" * 1000):
        frame = server.encode(TEXT, message)
        assert frame[0] == 0xC1
        header = 2 if frame[1] < 126 else 4
        assert client.decompress(frame[header:] + b"\x00\x00\xff\xff") == message


def pieces(deflate: Deflate, data: bytes, limit: int = 1000) -> list[bytes]:
    """What a frame inflates to, piece by piece."""
    found = [deflate.inflate(data, limit)]
    while deflate.has_more:
        found.append(deflate.inflate(b"", limit))
    return found


class Sender:
    """The other side's compressor.

    Args:
        settings: of zlib.
    """

    def __init__(self, **settings: Any) -> None:
        self._zlib = zlib.compressobj(wbits=-12, **settings)

    def frame(self, payload: bytes) -> bytes:
        return self._zlib.compress(payload) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


#: Messages of each kind: nothing, text that repeats, what hardly shrinks, what shrinks a thousandfold, no compression.
NOISE = random.Random(1).randbytes(100_000)
MESSAGES = {
    "empty": (b"", {}),
    "short": (b"Hello", {}),
    "noise": (NOISE, {}),
    "zeros": (bytes(1_000_000), {"level": 9}),
    "stored": (NOISE, {"level": 0}),
}


@pytest.mark.parametrize("limit", [1, 7, 1000, 1 << 20])
@pytest.mark.parametrize(("message", "settings"), MESSAGES.values(), ids=MESSAGES)
def test_pieces_of_any_size_are_the_message(message: bytes, settings: dict[str, Any], limit: int) -> None:
    message = message[: 2000 * limit]
    sender, deflate = Sender(**settings), agreed()
    for _ in range(2):  # the second one refers to the first
        deflate.begin()
        found = pieces(deflate, sender.frame(message), limit)
        assert b"".join(found) == message
        assert max(map(len, found)) <= limit


def test_a_message_in_several_frames_is_inflated_frame_by_frame() -> None:
    sender, deflate = Sender(), agreed()
    deflate.begin()
    assert b"".join(pieces(deflate, sender.frame(b"Hello, "))) == b"Hello, "
    assert b"".join(pieces(deflate, sender.frame(b"world"))) == b"world"


def test_each_message_stands_alone_where_that_was_agreed() -> None:
    deflate = agreed("permessage-deflate; client_no_context_takeover")
    for _ in range(2):
        deflate.begin()
        assert b"".join(pieces(deflate, Sender().frame(b"Hello" * 100))) == b"Hello" * 100


def test_broken_data_is_a_protocol_error() -> None:
    deflate = agreed()
    deflate.begin()
    with pytest.raises(PeerViolation) as caught:
        deflate.inflate(b"\xff\xff\xff\xff", 1000)
    assert caught.value.code == 1002
