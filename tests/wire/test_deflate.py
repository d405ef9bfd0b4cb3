"""permessage-deflate (RFC 7692)."""

from __future__ import annotations

import zlib

import pytest

from realtime.errors import PeerViolation
from realtime.wire.deflate import Deflate, negotiate
from realtime.wire.frames import BINARY, CONTINUATION, TEXT


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


def test_inflation_stops_at_the_allowance() -> None:
    compressor = zlib.compressobj(wbits=-12)
    bomb = (compressor.compress(bytes(10_000_000)) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    with pytest.raises(PeerViolation) as caught:
        agreed().inflate(BINARY, bomb, fin=True, first=True, allowance=1000)
    assert caught.value.code == 1009


def test_nothing_fits_into_an_allowance_of_nothing() -> None:
    compressor = zlib.compressobj(wbits=-12)
    data = compressor.compress(b"x") + compressor.flush(zlib.Z_SYNC_FLUSH)
    deflate = agreed()
    assert deflate.inflate(BINARY, data, fin=False, first=True, allowance=1) == b"x"
    more = (compressor.compress(b"y") + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    with pytest.raises(PeerViolation):
        deflate.inflate(CONTINUATION, more, fin=True, first=False, allowance=0)
