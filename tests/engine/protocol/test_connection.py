"""RFC 6455 for a server, as a table: bytes in, events and bytes out. Each row runs whole and one byte at a time."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import pytest

from realtime.engine.protocol.connection import (
    MAX_EARLY_DATA,
    MAX_QUEUED_BYTES,
    MAX_QUEUED_MESSAGES,
    Connection,
)
from realtime.engine.protocol.errors import ProtocolStateError
from realtime.engine.protocol.http import Request
from realtime.engine.protocol.messages import SharedMessage
from realtime.engine.protocol.policy import Limits
from realtime.engine.protocol.reader import INFLATED_PER_TURN
from realtime.engine.protocol.state import State
from realtime.engine.protocol.timeouts import LINGER_SECONDS

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"

HEADERS = [
    (b"host", b"localhost"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-protocol", b"chat, superchat"),
    (b"sec-websocket-extensions", b"permessage-deflate; client_max_window_bits"),
]


def client(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK) -> bytes:
    """A frame of a client."""
    length = len(payload)
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    bit = 0x80 if mask is not None else 0
    if length < 126:
        head = bytes((first, bit | length))
    elif length < 1 << 16:
        head = bytes((first, bit | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + length.to_bytes(8, "big")
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def server(opcode: int, payload: bytes = b"") -> bytes:
    """A frame of the server."""
    return client(opcode, payload, mask=None)


def closing(code: int, reason: str = "") -> bytes:
    return code.to_bytes(2, "big") + reason.encode()


def deflate(payload: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-12)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def connecting(**options: Any) -> Connection:
    connection = Connection(Request(b"/ws?x=1", list(HEADERS)), 0, defaults=Limits(), **options)
    assert connection.next_event(0) == {"type": "websocket.connect"}
    return connection


def opened(**policy: Any) -> Connection:
    connection = connecting()
    connection.send({"type": "websocket.accept", "policy": policy}, 0)
    assert sent(connection).startswith(b"HTTP/1.1 101 ")
    return connection


def sent(connection: Connection) -> bytes:
    data = b""
    while connection.out.size:
        data += connection.out.take()
    return data


def events(connection: Connection, now: float = 0) -> list[dict[str, Any]]:
    found = []
    while (event := connection.next_event(now)) is not None:
        found.append(event)
        if event["type"] == "websocket.disconnect":
            break
    return found


def text(value: str) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": value}


def binary(value: bytes) -> dict[str, Any]:
    return {"type": "websocket.receive", "bytes": value}


def gone(code: int, reason: str = "") -> dict[str, Any]:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


@dataclass
class Case:
    """One row.

    Args:
        data: what the peer sends.
        events: what the application receives; a violation's disconnect is not among them.
        out: what the peer is sent.
        fails: the close code with which the connection is failed; the last frame of the peer's answer.
        policy: what the application accepted with.
    """

    data: bytes
    events: list[dict[str, Any]] = field(default_factory=list)
    out: bytes = b""
    fails: int | None = None
    policy: dict[str, Any] = field(default_factory=dict)


SMALL = {"max_message_size": 10, "max_frame_size": 8}
DEFLATE = {"compression": True}
EURO = "€".encode()

CASES = {
    # 5.6 Data frames
    "text": Case(client(TEXT, b"Hello"), [text("Hello")]),
    "empty text": Case(client(TEXT), [text("")]),
    "binary": Case(client(BINARY, b"\x00\xff"), [binary(b"\x00\xff")]),
    "empty binary": Case(client(BINARY), [binary(b"")]),
    "binary that is UTF-8 stays binary": Case(client(BINARY, b"abc"), [binary(b"abc")]),
    "several messages at once": Case(
        client(TEXT, b"a") + client(BINARY, b"b") + client(TEXT, b"c"), [text("a"), binary(b"b"), text("c")]
    ),
    # 5.2 Lengths
    "125 bytes": Case(client(TEXT, b"x" * 125), [text("x" * 125)]),
    "126 bytes": Case(client(TEXT, b"x" * 126), [text("x" * 126)]),
    "127 bytes": Case(client(BINARY, b"x" * 127), [binary(b"x" * 127)]),
    "65535 bytes": Case(client(BINARY, b"x" * 65535), [binary(b"x" * 65535)]),
    "65536 bytes": Case(client(BINARY, b"x" * 65536), [binary(b"x" * 65536)]),
    "length not in its shortest form, 2 bytes": Case(b"\x81\xfe\x00\x05" + MASK, fails=1002),
    "length not in its shortest form, 8 bytes": Case(b"\x81\xff" + (65535).to_bytes(8, "big") + MASK, fails=1002),
    "highest bit of the length": Case(b"\x82\xff\x80" + bytes(7) + MASK, fails=1002),
    # 5.3 Masking
    "zero mask": Case(client(TEXT, b"abc", mask=bytes(4)), [text("abc")]),
    "unmasked": Case(client(TEXT, b"abc", mask=None), fails=1002),
    "unmasked control frame": Case(client(PING, mask=None), fails=1002),
    "unmasked where the policy allows it": Case(
        client(TEXT, b"abc", mask=None) + client(TEXT, b"d") + client(BINARY, b"e" * 200, mask=None),
        [text("abc"), text("d"), binary(b"e" * 200)],
        policy={"accept_unmasked_frames": True},
    ),
    # 5.4 Fragmentation
    "two fragments": Case(client(TEXT, b"Hel", fin=False) + client(CONT, b"lo"), [text("Hello")]),
    "many fragments": Case(
        client(BINARY, b"0", fin=False) + b"".join(client(CONT, b"%d" % n, fin=n == 9) for n in range(1, 10)),
        [binary(b"0123456789")],
    ),
    "empty fragments": Case(client(TEXT, fin=False) + client(CONT, fin=False) + client(CONT), [text("")]),
    "last fragment empty": Case(client(TEXT, b"a", fin=False) + client(CONT), [text("a")]),
    "control frame between fragments": Case(
        client(TEXT, b"a", fin=False) + client(PING, b"p") + client(CONT, b"b"), [text("ab")], server(PONG, b"p")
    ),
    "continuation of nothing": Case(client(CONT, b"a"), fails=1002),
    "unfinished continuation of nothing": Case(client(CONT, b"a", fin=False), fails=1002),
    "continuation after the last fragment": Case(
        client(TEXT, b"a", fin=False) + client(CONT, b"b") + client(CONT, b"c"), [text("ab")], fails=1002
    ),
    "text inside a fragmented message": Case(client(TEXT, b"a", fin=False) + client(TEXT, b"b"), fails=1002),
    "binary inside a fragmented message": Case(
        client(TEXT, b"a", fin=False) + client(BINARY, b"b", fin=False), fails=1002
    ),
    "too many fragments": Case(
        client(TEXT, b"a", fin=False) + client(CONT, b"b", fin=False) + client(CONT, b"c", fin=False),
        policy={"max_fragments": 2},
        fails=1009,
    ),
    "as many fragments as are allowed": Case(
        client(TEXT, b"a", fin=False) + client(CONT, b"b"), [text("ab")], policy={"max_fragments": 2}
    ),
    # 5.5 Control frames
    "ping": Case(client(PING, b"payload"), [], server(PONG, b"payload")),
    "empty ping": Case(client(PING), [], server(PONG)),
    "ping of 125 bytes": Case(client(PING, b"p" * 125), [], server(PONG, b"p" * 125)),
    "ping of 126 bytes": Case(client(PING, b"p" * 126), fails=1002),
    "ping that announces 8 bytes of length": Case(b"\x89\xff", fails=1002),
    "fragmented ping": Case(client(PING, b"p", fin=False), fails=1002),
    "fragmented pong": Case(client(PONG, fin=False), fails=1002),
    "unsolicited pong": Case(client(PONG, b"x") + client(TEXT, b"a"), [text("a")]),
    "ten pings": Case(client(PING, b"p") * 10, [], server(PONG, b"p") * 10),
    # 5.2 Reserved bits and opcodes
    **{f"reserved bits {bits}": Case(client(TEXT, b"a", rsv=bits), fails=1002) for bits in range(1, 8)},
    **{f"reserved bits {bits} on a ping": Case(client(PING, b"a", rsv=bits), fails=1002) for bits in range(1, 8)},
    **{f"opcode {code}": Case(client(code, b"a"), fails=1002) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "reserved opcode after a message": Case(client(TEXT, b"a") + client(3), [text("a")], fails=1002),
    # 5.5.1 Close
    "close": Case(client(CLOSE, closing(1000, "bye")), [gone(1000, "bye")], server(CLOSE, closing(1000, "bye"))),
    "close without a code": Case(client(CLOSE), [gone(1005)], server(CLOSE)),
    "close with one byte": Case(client(CLOSE, b"\x03"), fails=1002),
    "close of 125 bytes": Case(
        client(CLOSE, closing(1000, "r" * 123)), [gone(1000, "r" * 123)], server(CLOSE, closing(1000, "r" * 123))
    ),
    "close of 126 bytes": Case(client(CLOSE, closing(1000, "r" * 124)), fails=1002),
    "close with a broken reason": Case(client(CLOSE, closing(1000) + b"\xff"), fails=1007),
    "what follows a close is ignored": Case(
        client(CLOSE, closing(1000)) + client(TEXT, b"a") + client(PING), [gone(1000)], server(CLOSE, closing(1000))
    ),
    "close inside a fragmented message": Case(
        client(TEXT, b"a", fin=False) + client(CLOSE, closing(1001)), [gone(1001)], server(CLOSE, closing(1001))
    ),
    **{
        f"close code {code}": Case(client(CLOSE, closing(code)), [gone(code)], server(CLOSE, closing(code)))
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
    },
    **{
        f"illegal close code {code}": Case(client(CLOSE, closing(code)), fails=1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    },
    # 8.1 UTF-8
    "two, three and four bytes": Case(client(TEXT, "äß€😀".encode()), [text("äß€😀")]),
    "character across fragments": Case(
        client(TEXT, EURO[:1], fin=False) + client(CONT, EURO[1:2], fin=False) + client(CONT, EURO[2:]), [text("€")]
    ),
    "NUL and noncharacters": Case(client(TEXT, "\x00\uffff\U0010ffff".encode()), [text("\x00\uffff\U0010ffff")]),
    "lone continuation byte": Case(client(TEXT, b"\x80"), fails=1007),
    "unfinished character": Case(client(TEXT, EURO[:2]), fails=1007),
    "unfinished character in the last fragment": Case(
        client(TEXT, EURO[:1], fin=False) + client(CONT, EURO[1:2]), fails=1007
    ),
    "overlong": Case(client(TEXT, b"\xc0\xaf"), fails=1007),
    "surrogate": Case(client(TEXT, b"\xed\xa0\x80"), fails=1007),
    "over U+10FFFF": Case(client(TEXT, b"\xf4\x90\x80\x80"), fails=1007),
    "long text that breaks at its end": Case(client(TEXT, b"x" * 300 + b"\xff"), fails=1007),
    "broken in an unfinished frame": Case(client(TEXT, b"\xff" + b"x" * 100_000)[:20], fails=1007),
    "broken in an unfinished message": Case(client(TEXT, b"ok\xff", fin=False), fails=1007),
    # Limits
    "message of the limit": Case(client(TEXT, b"x" * 8), [text("x" * 8)], policy=SMALL),
    "frame over the limit": Case(client(TEXT, b"x" * 9), policy=SMALL, fails=1009),
    "frame over the limit, header only": Case(client(TEXT, b"x" * 9)[:2], policy=SMALL, fails=1009),
    "long frame over the limit, header only": Case(b"\x82\xff" + (1 << 40).to_bytes(8, "big"), fails=1009),
    "fragments up to the limit": Case(
        client(TEXT, b"x" * 5, fin=False) + client(CONT, b"x" * 5), [text("x" * 10)], policy=SMALL
    ),
    "fragments over the limit, header only": Case(
        client(TEXT, b"x" * 5, fin=False) + client(CONT, b"x" * 6)[:2], policy=SMALL, fails=1009
    ),
    "control frame over the limit of a frame": Case(
        client(PING, b"p" * 100), [], server(PONG, b"p" * 100), policy=SMALL
    ),
    # RFC 7692
    "compressed text": Case(client(TEXT, deflate(b"Hello"), rsv=4), [text("Hello")], policy=DEFLATE),
    "compressed empty": Case(client(BINARY, deflate(b""), rsv=4), [binary(b"")], policy=DEFLATE),
    "compressed fragments": Case(
        client(TEXT, deflate(b"Hello")[:3], rsv=4, fin=False) + client(PING) + client(CONT, deflate(b"Hello")[3:]),
        [text("Hello")],
        server(PONG),
        policy=DEFLATE,
    ),
    "uncompressed where compression was agreed": Case(client(TEXT, b"Hello"), [text("Hello")], policy=DEFLATE),
    "compressed although it was not agreed": Case(client(TEXT, deflate(b"Hello"), rsv=4), fails=1002),
    "compressed continuation": Case(
        client(TEXT, b"a", fin=False) + client(CONT, b"b", rsv=4), policy=DEFLATE, fails=1002
    ),
    "compressed ping": Case(client(PING, rsv=4), policy=DEFLATE, fails=1002),
    "broken compressed data": Case(client(TEXT, b"\xff\xff\xff\xff", rsv=4), policy=DEFLATE, fails=1002),
    "compressed text that is not UTF-8": Case(client(TEXT, deflate(b"\xff"), rsv=4), policy=DEFLATE, fails=1007),
    "bomb": Case(
        client(BINARY, deflate(bytes(1_000_000)), rsv=4), policy={**DEFLATE, "max_message_size": 10_000}, fails=1009
    ),
    "bomb in fragments": Case(
        client(BINARY, deflate(bytes(20_000))[:12], rsv=4, fin=False) + client(CONT, deflate(bytes(20_000))[12:]),
        policy={**DEFLATE, "max_message_size": 10_000},
        fails=1009,
    ),
    "compressed message of the limit": Case(
        client(BINARY, deflate(bytes(10_000)), rsv=4),
        [binary(bytes(10_000))],
        policy={**DEFLATE, "max_message_size": 10_000},
    ),
}


def whole(data: bytes) -> list[bytes]:
    return [data]


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def halves(data: bytes) -> list[bytes]:
    return [data[: len(data) // 2], data[len(data) // 2 :]]


@pytest.mark.parametrize("chop", [whole, byte_by_byte, halves])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case(case: Case, chop: Any) -> None:
    connection = opened(**case.policy)
    for piece in chop(case.data):
        connection.receive_data(piece, 0)
    received, out = events(connection), sent(connection)
    if case.fails is not None:
        last = received.pop()
        assert (last["type"], last["code"]) == ("websocket.disconnect", case.fails)
        assert out.startswith(case.out)
        failure = out[len(case.out) :]
        assert failure[0] == 0x80 | CLOSE
        assert failure[2:4] == case.fails.to_bytes(2, "big")
        assert connection.state is State.LINGERING
    else:
        assert out == case.out
        over = bool(case.events) and case.events[-1]["type"] == "websocket.disconnect"
        assert connection.state is (State.LINGERING if over else State.OPEN)
    assert received == case.events


# The handshake


def test_accept_answers_the_key_and_carries_headers() -> None:
    connection = connecting(headers=((b"Server", b"test"),))
    connection.send(
        {"type": "websocket.accept", "subprotocol": "superchat", "headers": [(b"x-a", b"1"), (b"x-a", b"2")]}, 0
    )
    lines = sent(connection).split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 101 Switching Protocols"
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in lines  # RFC 6455, 1.3
    assert b"Sec-WebSocket-Protocol: superchat" in lines
    assert lines.count(b"x-a: 1") == lines.count(b"x-a: 2") == lines.count(b"Server: test") == 1
    assert not any(line.startswith(b"Sec-WebSocket-Extensions") for line in lines)


@pytest.mark.parametrize(
    "event",
    [
        {"subprotocol": "not offered"},
        {"headers": [(b"x", b"a\r\nb: c")]},
        {"headers": [(b"Sec-WebSocket-Protocol", b"chat")]},
        {"headers": [(b"connection", b"close")]},
    ],
)
def test_accept_with_impossible_values_is_an_error_and_accepts_nothing(event: dict[str, Any]) -> None:
    connection = connecting()
    with pytest.raises(ValueError, match=r"header|subprotocol"):
        connection.send({"type": "websocket.accept", **event}, 0)
    assert connection.state is State.CONNECTING
    assert sent(connection) == b""


def test_policy_field_that_is_not_known_is_an_error() -> None:
    with pytest.raises(TypeError, match="max_colour"):
        opened(max_colour=3)


def test_compression_is_agreed_only_if_the_policy_asks_for_it() -> None:
    connection = connecting()
    connection.send({"type": "websocket.accept", "policy": {"compression": True}}, 0)
    assert (
        b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=12; client_max_window_bits=12\r\n"
        in sent(connection)
    )


def test_close_before_the_accept_is_a_403() -> None:
    connection = connecting()
    connection.send({"type": "websocket.close"}, 0)
    assert sent(connection).startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert connection.refusal is not None
    assert connection.refusal[0] == 403
    assert events(connection) == [gone(1006)]


def test_denial_response_with_one_body_has_a_length() -> None:
    connection = connecting()
    connection.send({"type": "websocket.http.response.start", "status": 429, "headers": [(b"retry-after", b"3")]}, 0)
    connection.send({"type": "websocket.http.response.body", "body": b"slow"}, 0)
    head, _, body = sent(connection).partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 429 Too Many Requests",
        b"retry-after: 3",
        b"Content-Length: 4",
        b"Connection: close",
    ]
    assert body == b"slow"
    assert connection.state is State.LINGERING


def test_data_before_the_accept_is_bounded_and_kept() -> None:
    connection = connecting()
    early = client(TEXT, b"x" * 1000) * (MAX_EARLY_DATA // 1000 + 1)
    connection.receive_data(client(TEXT, b"first"), 0)
    assert connection.wants_data
    connection.receive_data(early, 0)
    assert not connection.wants_data
    connection.send({"type": "websocket.accept"}, 0)
    assert events(connection)[0] == text("first")
    assert connection.wants_data


def test_peer_that_is_refused_is_read_from_although_it_has_sent_much() -> None:
    connection = connecting()
    connection.receive_data(bytes(MAX_EARLY_DATA), 0)
    assert not connection.wants_data
    connection.send({"type": "websocket.http.response.start", "status": 403}, 0)
    assert connection.wants_data


def test_handshake_that_is_not_answered_in_time_is_refused_with_503() -> None:
    connection = connecting(answer_timeout=5)
    assert connection.timeouts.next == 5
    connection.expire(5)
    assert sent(connection).startswith(b"HTTP/1.1 503 ")
    connection.send({"type": "websocket.accept"}, 6)
    assert sent(connection) == b""


@pytest.mark.parametrize("method", ["application_failed", "application_returned"])
def test_application_that_ends_without_an_answer_is_a_500(method: str) -> None:
    connection = connecting()
    getattr(connection, method)(0)
    assert sent(connection).startswith(b"HTTP/1.1 500 ")


def test_application_that_ends_after_the_start_of_a_response_is_a_500() -> None:
    connection = connecting()
    connection.send({"type": "websocket.http.response.start", "status": 200}, 0)
    connection.application_failed(0)
    assert sent(connection).startswith(b"HTTP/1.1 500 ")


def test_half_a_response_is_broken_off() -> None:
    connection = connecting()
    connection.send({"type": "websocket.http.response.start", "status": 200}, 0)
    connection.send({"type": "websocket.http.response.body", "body": b"half", "more_body": True}, 0)
    connection.application_failed(0)
    assert connection.state is State.CLOSED


# Sending


def test_messages_are_sent_as_what_they_are() -> None:
    connection = opened()
    for event in ({"text": "hi"}, {"text": ""}, {"bytes": b""}, {"bytes": b"b", "text": None}, {"text": "x" * 126}):
        connection.send({"type": "websocket.send", **event}, 0)
    assert sent(connection) == server(TEXT, b"hi") + server(TEXT) + server(BINARY) + server(BINARY, b"b") + server(
        TEXT, b"x" * 126
    )


@pytest.mark.parametrize("event", [{}, {"text": None}, {"text": "a", "bytes": b"b"}])
def test_message_is_either_text_or_bytes(event: dict[str, Any]) -> None:
    connection = opened()
    with pytest.raises(ValueError, match="exactly one"):
        connection.send({"type": "websocket.send", **event}, 0)


@pytest.mark.parametrize("kind", ["websocket.sned", "http.response.start", "websocket.receive"])
def test_unknown_event_is_an_error(kind: str) -> None:
    with pytest.raises(ValueError, match=kind):
        opened().send({"type": kind}, 0)


@pytest.mark.parametrize("kind", ["websocket.accept", "websocket.http.response.start", "websocket.http.response.body"])
def test_event_of_the_handshake_after_the_accept_is_an_error(kind: str) -> None:
    with pytest.raises(ProtocolStateError):
        opened().send({"type": kind, "status": 200}, 0)


@pytest.mark.parametrize("kind", ["websocket.send", "websocket.ping", "websocket.http.response.body"])
def test_event_before_its_time_is_an_error(kind: str) -> None:
    with pytest.raises(ProtocolStateError):
        connecting().send({"type": kind, "text": "x"}, 0)


def test_reason_is_shortened_at_a_character_boundary() -> None:
    connection = opened()
    connection.send({"type": "websocket.close", "code": 4000, "reason": "ä" * 100}, 0)
    assert sent(connection) == server(CLOSE, closing(4000, "ä" * 61))


@pytest.mark.parametrize("code", [0, 999, 1005, 1006, 1015, 5000])
def test_close_code_that_may_not_be_sent_is_an_error(code: int) -> None:
    with pytest.raises(ValueError, match=str(code)):
        opened().send({"type": "websocket.close", "code": code}, 0)


def test_close_waits_for_the_answer_and_gives_up() -> None:
    connection = opened(close_timeout=3)
    connection.send({"type": "websocket.close", "code": 1000}, 10)
    assert connection.state is State.CLOSING
    assert events(connection) == [gone(1000)]
    assert connection.timeouts.next == 13
    connection.expire(13)
    assert connection.state is State.CLOSED


def test_answer_to_a_close_ends_the_connection_without_another_close() -> None:
    connection = opened()
    connection.send({"type": "websocket.close"}, 0)
    sent(connection)
    connection.receive_data(client(TEXT, b"crossing") + client(CLOSE, closing(1000)), 1)
    assert connection.state is State.LINGERING
    assert sent(connection) == b""
    assert connection.timeouts.next == 1 + LINGER_SECONDS
    connection.expire(1 + LINGER_SECONDS)
    assert connection.state is State.CLOSED


def test_messages_that_were_not_taken_are_dropped_when_the_application_closes() -> None:
    connection = opened()
    connection.receive_data(client(TEXT, b"a") * 5, 0)
    connection.send({"type": "websocket.close", "code": 1008}, 0)
    assert events(connection) == [gone(1008)]


def test_sending_after_the_end_does_nothing() -> None:
    connection = opened()
    connection.connection_lost(0)
    for event in ({"type": "websocket.send", "text": "x"}, {"type": "websocket.close"}, {"type": "websocket.ping"}):
        connection.send(event, 0)
    connection.send_shared(SharedMessage(text="x"))
    assert sent(connection) == b""
    assert events(connection) == [gone(1006)]


def test_disconnect_is_the_last_event() -> None:
    connection = opened()
    connection.connection_lost(0)
    assert [connection.next_event(0), connection.next_event(0)] == [gone(1006), None]


def test_shared_message_is_encoded_once() -> None:
    shared = SharedMessage(text="to all")
    first, second = opened(), opened(compression=True)
    first.send_shared(shared)
    frame = shared.frame
    second.send_shared(shared)
    assert shared.frame is frame
    assert sent(first) == sent(second) == server(TEXT, b"to all")


def test_shared_message_before_the_accept_does_nothing() -> None:
    connection = connecting()
    connection.send_shared(SharedMessage(data=b"x"))
    assert sent(connection) == b""


# Back-pressure


def test_queue_is_bounded_and_nothing_is_lost() -> None:
    connection = opened()
    count = 3 * MAX_QUEUED_MESSAGES
    connection.receive_data(client(TEXT, b"x") * count + client(PING, b"behind"), 0)
    assert not connection.wants_data
    assert sent(connection) == b""
    assert events(connection) == [text("x")] * count
    assert connection.wants_data
    assert sent(connection) == server(PONG, b"behind")


def test_queue_is_bounded_in_bytes() -> None:
    connection = opened()
    connection.receive_data(client(BINARY, bytes(100_000)) * 4, 0)
    assert not connection.wants_data
    taken = connection.next_event(0)
    assert taken == binary(bytes(100_000))
    assert MAX_QUEUED_BYTES < 3 * 100_000
    assert not connection.wants_data
    assert len(events(connection)) == 3


def test_no_more_is_parsed_while_what_waits_is_still_too_much() -> None:
    connection = opened()
    connection.receive_data(client(TEXT, b"x") + client(BINARY, bytes(MAX_QUEUED_BYTES)) + client(TEXT, b"y"), 0)
    assert connection.next_event(0) == text("x")
    assert len(connection.events) == 1
    assert events(connection) == [binary(bytes(MAX_QUEUED_BYTES)), text("y")]


def test_disconnect_reaches_an_application_behind_a_full_queue() -> None:
    connection = opened()
    count = 2 * MAX_QUEUED_MESSAGES
    connection.receive_data(client(TEXT, b"x") * count + client(CLOSE, closing(1001)), 0)
    connection.connection_lost(1)
    assert events(connection, 2) == [text("x")] * count + [gone(1001)]
    assert connection.state is State.CLOSED


def test_loss_behind_a_full_queue_is_a_1006() -> None:
    connection = opened()
    count = 2 * MAX_QUEUED_MESSAGES
    connection.receive_data(client(TEXT, b"x") * count, 0)
    connection.connection_lost(1)
    assert events(connection, 2) == [text("x")] * count + [gone(1006)]


def lost_unread(*, count: int = 2 * MAX_QUEUED_MESSAGES, behind: bytes = b"") -> Connection:
    connection = opened(ping_interval=30, idle_timeout=60)
    connection.receive_data(client(TEXT, b"x") * count + behind, 0)
    connection.connection_lost(1)
    return connection


def test_lost_peer_is_sent_nothing_while_the_application_takes_its_messages() -> None:
    connection = lost_unread(behind=client(PING, b"p"))
    connection.send({"type": "websocket.send", "text": "x"}, 1)
    connection.send({"type": "websocket.ping"}, 1)
    connection.send_shared(SharedMessage(text="x"))
    connection.expire(100)
    assert connection.next_event(100) == text("x")
    assert connection.out.size == 0
    assert events(connection, 100)[-1] == gone(1006)
    assert connection.out.size == 0


def test_application_gets_the_violation_of_a_lost_peer_behind_its_messages() -> None:
    connection = lost_unread(behind=client(TEXT, b"\xff"))
    assert events(connection, 2)[-1]["code"] == 1007
    assert connection.state is State.CLOSED
    assert connection.out.size == 0


def test_application_that_closes_for_a_lost_peer_is_given_no_more_messages() -> None:
    connection = lost_unread()
    connection.send({"type": "websocket.close", "code": 1008}, 1)
    assert events(connection, 2) == [gone(1008)]
    assert connection.state is State.CLOSED


def test_server_that_closes_ends_a_lost_connection_at_once() -> None:
    connection = lost_unread()
    connection.shut(1012, "restart", 1)
    assert connection.state is State.CLOSED
    assert events(connection, 2) == [text("x")] * MAX_QUEUED_MESSAGES + [gone(1012, "restart")]


def test_application_that_ends_ends_a_lost_connection() -> None:
    connection = lost_unread()
    connection.application_returned(1)
    assert connection.state is State.CLOSED
    assert not connection.events


def inflating(size: int, behind: bytes = b"", **policy: Any) -> Connection:
    """A connection in the middle of a message that has arrived as a whole."""
    connection = opened(**DEFLATE, **policy)
    connection.receive_data(client(BINARY, deflate(bytes(size)), rsv=4) + behind, 0)
    assert connection.wants_turn
    assert not connection.wants_data
    return connection


def turns(connection: Connection) -> int:
    count = 0
    while connection.wants_turn:
        connection.go_on(1)
        count += 1
    return count


def test_large_message_is_inflated_in_turns_and_what_lies_behind_comes_after_it() -> None:
    connection = inflating(200_000, client(TEXT, b"behind") + client(PING, b"p"))
    assert connection.next_event(0) is None
    connection.receive_data(client(TEXT, b"further behind"), 0)
    assert turns(connection) == 200_000 // INFLATED_PER_TURN
    assert connection.wants_data
    assert events(connection) == [binary(bytes(200_000)), text("behind"), text("further behind")]
    assert sent(connection) == server(PONG, b"p")


def test_message_that_grows_too_large_is_closed_with_1009_in_the_turn_in_which_it_does() -> None:
    size = 10 * INFLATED_PER_TURN
    connection = inflating(2 * size, max_message_size=size)
    assert turns(connection) <= 11
    assert sent(connection)[2:4] == (1009).to_bytes(2, "big")


def test_application_gets_a_violation_inside_a_large_message_in_the_turn_that_finds_it() -> None:
    connection = opened(**DEFLATE)
    payload = b"x" * 3 * INFLATED_PER_TURN + b"\xff" + b"x" * 30 * INFLATED_PER_TURN
    connection.receive_data(client(TEXT, deflate(payload), rsv=4), 0)
    assert turns(connection) <= 4
    assert events(connection)[-1]["code"] == 1007


def test_large_message_waits_while_the_application_has_enough_to_take() -> None:
    connection = opened(**DEFLATE)
    large = client(BINARY, deflate(bytes(1_000_000)), rsv=4)
    connection.receive_data(client(TEXT, b"x") * MAX_QUEUED_MESSAGES + large, 0)
    assert not connection.wants_turn
    assert events(connection) == [text("x")] * MAX_QUEUED_MESSAGES
    assert turns(connection) > 0
    assert events(connection) == [binary(bytes(1_000_000))]


def test_peer_is_not_held_to_be_silent_while_its_large_message_is_inflated() -> None:
    connection = inflating(1_000_000, client(TEXT, b"behind"), idle_timeout=60, message_timeout=60)
    connection.expire(1000)
    turns(connection)
    assert len(events(connection)) == 2


def test_close_behind_a_large_message_ends_a_closing_connection() -> None:
    connection = inflating(1_000_000, client(CLOSE, closing(1000)))
    connection.shut(1012, "restart", 0)
    turns(connection)
    assert connection.state is State.LINGERING


def test_large_message_of_a_lost_peer_is_given_to_the_application() -> None:
    connection = inflating(1_000_000)
    connection.connection_lost(0)
    turns(connection)
    assert events(connection) == [binary(bytes(1_000_000)), gone(1006)]
    assert connection.state is State.CLOSED


def test_closing_connection_reads_on_behind_a_full_queue() -> None:
    connection = opened()
    connection.receive_data(client(TEXT, b"x") * 2 * MAX_QUEUED_MESSAGES + client(CLOSE, closing(1000)), 0)
    connection.shut(1012, "restart", 0)
    assert connection.state is State.LINGERING


def test_peer_that_does_not_read_gets_one_pong_for_all_its_pings() -> None:
    connection = opened()
    connection.out.blocked = True
    connection.receive_data(b"".join(client(PING, b"%d" % number) for number in range(1000)), 0)
    assert connection.out.size == 0
    connection.unblocked()
    assert sent(connection) == server(PONG, b"999")


def test_overflow_drops_what_is_pending_and_closes_with_1013() -> None:
    connection = opened()
    connection.send_shared(SharedMessage(data=bytes(200_000)))
    begun = connection.out.take()
    for _ in range(10):
        connection.send_shared(SharedMessage(data=bytes(1000)))
    connection.overflow(0)
    rest = begun + sent(connection)
    assert rest == server(BINARY, bytes(200_000)) + server(CLOSE, closing(1013, "reading too slowly"))
    assert events(connection) == [gone(1013, "reading too slowly")]


# Time


def test_pings_are_sent_at_the_interval_and_pongs_carry_their_latency() -> None:
    connection = opened(ping_interval=30, ping_timeout=20)
    assert connection.timeouts.next == 30
    connection.expire(30)
    ping = sent(connection)
    assert ping[0] == 0x80 | PING
    assert connection.timeouts.next == 50
    connection.receive_data(client(PONG, ping[2:]), 30.5)
    assert events(connection) == [{"type": "websocket.pong", "bytes": ping[2:], "latency": 0.5}]
    assert connection.timeouts.next == 60


def test_peer_that_does_not_answer_a_ping_is_closed_with_1011() -> None:
    connection = opened(ping_interval=30, ping_timeout=20)
    connection.expire(30)
    sent(connection)
    connection.receive_data(client(TEXT, b"not a pong"), 40)
    connection.expire(50)
    assert sent(connection) == server(CLOSE, closing(1011, "no answer to a ping"))
    assert connection.state is State.LINGERING
    assert events(connection)[-1]["code"] == 1011


def test_pong_that_is_not_read_yet_is_not_missing() -> None:
    connection = opened(ping_interval=30, ping_timeout=20)
    connection.expire(30)
    payload = sent(connection)[2:]
    connection.receive_data(client(TEXT, b"x") * MAX_QUEUED_MESSAGES + client(PONG, payload), 31)
    connection.expire(50)
    assert connection.state is State.OPEN
    assert events(connection, 51)[-1]["type"] == "websocket.pong"


def test_stock_consumer_gets_no_pongs() -> None:
    connection = connecting()
    connection.send({"type": "websocket.accept"}, 0)
    sent(connection)
    connection.receive_data(client(PONG, b"x"), 0)
    assert not connection.events


def test_ping_of_the_application_has_a_deadline_too() -> None:
    connection = opened(ping_timeout=20)
    connection.send({"type": "websocket.ping", "bytes": b"p"}, 5)
    assert sent(connection) == server(PING, b"p")
    assert connection.timeouts.next == 25


def test_ping_of_the_application_has_at_most_125_bytes() -> None:
    with pytest.raises(ValueError, match="125"):
        opened().send({"type": "websocket.ping", "bytes": b"p" * 126}, 0)


def test_idle_peer_is_closed_with_3008_and_a_busy_one_is_not() -> None:
    connection = opened(idle_timeout=60)
    connection.receive_data(client(TEXT, b"x"), 50)
    connection.receive_data(client(PING), 100)
    events(connection)
    connection.expire(60)
    assert connection.state is State.OPEN
    assert connection.timeouts.next == 110
    sent(connection)
    connection.expire(110)
    assert sent(connection)[2:4] == (3008).to_bytes(2, "big")
    assert events(connection)[-1]["code"] == 3008


def test_message_that_is_not_finished_in_time_is_closed_with_1008() -> None:
    connection = opened(message_timeout=60)
    connection.receive_data(client(TEXT, b"a", fin=False), 10)
    connection.receive_data(client(CONT, b"b", fin=False), 50)
    connection.receive_data(client(PING), 60)
    assert connection.timeouts.next == 70
    connection.expire(70)
    assert events(connection)[-1]["code"] == 1008


@pytest.mark.parametrize("frame", [client(TEXT, b"hello"), client(BINARY, bytes(200)), client(PING, b"hello")])
def test_each_message_has_its_own_time(frame: bytes) -> None:
    connection = opened(message_timeout=60)
    connection.receive_data(frame[:3], 10)
    connection.receive_data(frame[3:] + frame[:3], 65)
    assert connection.timeouts.next == 125
    connection.receive_data(frame[3:], 66)
    assert connection.timeouts.next > 1e9


def test_connection_that_has_lasted_too_long_is_closed_with_1001() -> None:
    connection = connecting(lifetime=100)
    connection.send({"type": "websocket.accept"}, 5)
    assert connection.timeouts.next == 105
    connection.expire(105)
    assert events(connection)[-1]["code"] == 1001


@pytest.mark.parametrize(("method", "code"), [("application_failed", 1011), ("application_returned", 1000)])
def test_application_that_ends_closes_the_connection(method: str, code: int) -> None:
    connection = opened()
    getattr(connection, method)(0)
    assert sent(connection) == server(CLOSE, closing(code))
    assert connection.state is State.CLOSING


def test_restart_before_the_accept_is_a_503() -> None:
    connection = connecting()
    connection.shut(1012, "restart", 0)
    assert sent(connection).startswith(b"HTTP/1.1 503 ")
