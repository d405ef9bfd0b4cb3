"""The bytes that answer a handshake."""

from __future__ import annotations

import json
from typing import Any

import pytest

from realtime.engine.policy import Limits, SocketPolicy
from realtime.engine.protocol.http import Request
from realtime.engine.protocol.response import Answer

KEY = (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")
#: The key's answer, from RFC 6455, 1.3.
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def answer(*headers: tuple[bytes, bytes]) -> Answer:
    return Answer(Request(b"/ws", [KEY, *headers]), ((b"Server", b"test"),))


def parsed(data: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    return line, dict(field.split(b": ", 1) for field in fields), body


def upgraded(each: Answer, **event: Any) -> dict[bytes, bytes]:
    line, headers, body = parsed(each.upgrade(event, Limits())[0])
    assert (line, body) == (b"HTTP/1.1 101 Switching Protocols", b"")
    return headers


def test_upgrade_proves_that_the_key_was_read() -> None:
    headers = upgraded(answer())
    assert headers[b"Sec-WebSocket-Accept"] == ACCEPT
    assert (headers[b"Upgrade"], headers[b"Connection"]) == (b"websocket", b"Upgrade")
    assert headers[b"Server"] == b"test"
    assert b"Sec-WebSocket-Protocol" not in headers


def test_upgrade_names_the_subprotocol_and_headers_of_the_application() -> None:
    offered = answer((b"sec-websocket-protocol", b"a, b"))
    headers = upgraded(offered, subprotocol="b", headers=[(b"x-room", b"lobby")])
    assert headers[b"Sec-WebSocket-Protocol"] == b"b"
    assert headers[b"x-room"] == b"lobby"


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"subprotocol": "c"}, "did not offer the subprotocol 'c'"),
        ({"headers": [(b"Upgrade", b"h2c")]}, "is the server's"),
        ({"headers": [(b"x-a", b"1\r\nx-b: 2")]}, "no legal header"),
        ({"headers": [(b"", b"1")]}, "no legal header"),
    ],
)
def test_upgrade_that_is_not_legal_says_why(event: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        answer((b"sec-websocket-protocol", b"a, b")).upgrade(event, Limits())


def test_compression_is_agreed_on_where_both_sides_want_it() -> None:
    offer = (b"sec-websocket-extensions", b"permessage-deflate; client_max_window_bits")
    _, limits, deflate = answer(offer).upgrade({"policy": {"compression": True}}, Limits())
    assert limits.compression
    assert deflate is not None
    assert answer(offer).upgrade({}, Limits())[2] is None
    assert answer().upgrade({"policy": {"compression": True}}, Limits())[2] is None


def test_response_of_the_application_has_its_length_where_it_is_known() -> None:
    each = answer()
    each.start({"status": 401, "headers": [(b"www-authenticate", b"Bearer")]})
    assert not each.has_begun
    line, headers, body = parsed(each.body({"body": b"who?"}))
    assert line == b"HTTP/1.1 401 Unauthorized"
    assert headers[b"www-authenticate"] == b"Bearer"
    assert (headers[b"Content-Length"], headers[b"Connection"], body) == (b"4", b"close", b"who?")


def test_response_in_parts_ends_with_the_connection() -> None:
    each = answer()
    each.start({"status": 403, "headers": []})
    _, headers, body = parsed(each.body({"body": b"not ", "more_body": True}))
    assert b"Content-Length" not in headers
    assert body == b"not "
    assert each.has_begun
    assert each.body({"body": b"you"}) == b"you"


def test_response_with_illegal_headers_is_not_begun() -> None:
    each = answer()
    with pytest.raises(ValueError, match="no legal header"):
        each.start({"status": 403, "headers": [(b"x-a", b"1\n2")]})
    assert each.status is None


def test_problem_is_a_whole_response() -> None:
    line, headers, body = parsed(answer().problem(503, "busy"))
    assert line == b"HTTP/1.1 503 Service Unavailable"
    assert headers[b"content-type"] == b"application/problem+json"
    assert json.loads(body) == {"title": "Service Unavailable", "status": 503, "detail": "busy"}


def limits_for(policy: dict[str, Any], defaults: Limits | None = None) -> Limits:
    return answer().upgrade({"policy": policy}, defaults or Limits())[1]


def test_connections_of_one_policy_share_their_limits() -> None:
    policy = SocketPolicy(max_message_size=1000)
    assert limits_for(policy.for_wire()) is limits_for(policy.for_wire())


def test_defaults_are_those_of_a_policy_that_states_daphne_s_sizes() -> None:
    assert limits_for(SocketPolicy(max_message_size=1024 * 1024).for_wire()) == Limits()


def test_fields_that_a_policy_does_not_name_are_the_server_s() -> None:
    assert limits_for({"max_message_size": 5}, Limits(ping_interval=7)) == Limits(ping_interval=7, max_message_size=5)


def test_unknown_field_of_a_policy_is_an_error_that_names_it() -> None:
    with pytest.raises(TypeError, match="colour"):
        limits_for({"colour": 1})
