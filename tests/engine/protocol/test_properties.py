"""Whatever the peer sends, and however TCP chops it: nothing crashes, nothing is lost, nothing grows for ever."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from realtime.engine.protocol.connection import MAX_QUEUED_BYTES, MAX_QUEUED_MESSAGES, Connection
from realtime.engine.protocol.http import Request
from realtime.engine.protocol.policy import Limits
from realtime.engine.protocol.state import State

KEY = (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")
OFFER = (b"sec-websocket-extensions", b"permessage-deflate; client_max_window_bits")
MASK = b"\x01\x02\x03\x04"

#: Frames from which the mutations start: one of each kind, each length form, fragments, and the usual violations.
SEEDS = [
    b"\x81\x85" + MASK + b"Ignhk",
    b"\x82\x80" + MASK,
    b"\x89\x80" + MASK,
    b"\x8a\x81" + MASK + b"x",
    b"\x88\x82" + MASK + b"\x02\xea",
    b"\x01\x81" + MASK + b"`" + b"\x80\x81" + MASK + b"a",
    b"\x82\xfe\x00\x80" + MASK + bytes(128),
    b"\x82\xff" + (70_000).to_bytes(8, "big") + MASK + bytes(70_000),
    b"\xc1\x87" + MASK + b"\xf3J\xce\xcd\xc8\x05\x03",
    b"\x81\x05Hello",
    b"\x83\x80" + MASK,
    b"\x80\x81" + MASK + b"x",
]


def opened(**policy: Any) -> Connection:
    connection = Connection(Request(b"/", [KEY, OFFER]), 0, defaults=Limits())
    connection.next_event(0)
    connection.send({"type": "websocket.accept", "policy": policy}, 0)
    take(connection)
    return connection


def take(connection: Connection) -> bytes:
    data = b""
    while connection.out.size:
        data += connection.out.take()
    return data


def run(pieces: list[bytes], **policy: Any) -> tuple[list[Any], bytes, State]:
    """Feed pieces to a connection whose application takes every event at once."""
    connection = opened(**policy)
    seen, out = [], b""
    for number, piece in enumerate(pieces):
        connection.receive_data(piece, number)
        while (event := connection.next_event(number)) is not None:
            if event["type"] == "websocket.disconnect":
                break
            seen.append(event)
        out += take(connection)
    closed = connection.closed_with
    return [*seen, closed], out, connection.state


def chop(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Some seeds one after the other, with a few bytes changed, dropped or inserted."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(SEEDS), min_size=1, max_size=6))))
    for position, value, how in draw(
        st.lists(st.tuples(st.integers(0, 1 << 17), st.integers(0, 255), st.sampled_from("cdi")), max_size=4)
    ):
        index = position % (len(data) + 1)
        if how == "i":
            data.insert(index, value)
        elif index < len(data):
            if how == "c":
                data[index] = value
            else:
                del data[index]
    return bytes(data)


POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "max_message_size": st.integers(1, 200_000),
        "max_frame_size": st.integers(1, 100_000),
        "max_fragments": st.integers(1, 5),
        "accept_unmasked_frames": st.booleans(),
        "compression": st.booleans(),
    },
)


@settings(max_examples=300, deadline=None)
@given(streams(), st.lists(st.integers(0, 1 << 17), max_size=12), POLICIES)
@example(b"".join(SEEDS[:8]), [1, 2, 3, 9, 10, 11], {})
def test_how_tcp_chops_the_bytes_makes_no_difference(data: bytes, cuts: list[int], policy: dict[str, Any]) -> None:
    assert run(chop(data, cuts), **policy) == run([data], **policy)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=20))
def test_random_bytes_end_in_a_legal_state(pieces: list[bytes]) -> None:
    events, _, state = run(pieces)
    assert state in (State.OPEN, State.LINGERING)
    assert (events[-1] is None) == (state is State.OPEN)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, len(SEEDS) - 1), min_size=1, max_size=40))
def test_what_is_held_for_an_application_that_takes_nothing_is_bounded(seeds: list[int]) -> None:
    connection = opened()
    fed = 0
    for seed in seeds * 50:
        if connection.state is not State.OPEN or not connection.wants_data:
            break
        connection.receive_data(SEEDS[seed], 0)
        fed += len(SEEDS[seed]) if SEEDS[seed][0] & 0x0F < 8 else 0  # control frames are answered, not held
        take(connection)
    held = 0
    while (event := connection.next_event(0)) is not None and event["type"] != "websocket.disconnect":
        held += 1
    assert held <= MAX_QUEUED_MESSAGES + 2
    assert fed <= MAX_QUEUED_BYTES + MAX_QUEUED_MESSAGES * 200 + 2 * 70_100


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.one_of(st.text(max_size=300), st.binary(max_size=300)), max_size=10),
    st.lists(st.integers(0, 5000), max_size=10),
    st.integers(1, 50),
)
def test_every_message_arrives_whatever_its_fragments(messages: list[str | bytes], cuts: list[int], size: int) -> None:
    data = b"".join(fragments(message, size) for message in messages)
    events, _, state = run(chop(data, cuts))
    received = [event.get("text", event.get("bytes")) for event in events[:-1]]
    assert received == messages
    assert state is State.OPEN


def fragments(message: str | bytes, size: int) -> bytes:
    payload = message.encode() if isinstance(message, str) else message
    pieces = [payload[start : start + size] for start in range(0, len(payload), size)] or [b""]
    data = b""
    for number, piece in enumerate(pieces):
        opcode = 0 if number else (1 if isinstance(message, str) else 2)
        fin = 0x80 if number == len(pieces) - 1 else 0
        data += bytes((fin | opcode, 0x80 | len(piece))) + MASK
        data += bytes(byte ^ MASK[index % 4] for index, byte in enumerate(piece))
    return data
