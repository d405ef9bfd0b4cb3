"""Requests into scopes, what keeps them from being handshakes, and responses into bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from realtime.engine.protocol.http import (
    HandshakeResponse,
    Request,
    build_scope,
    header_values,
    offered_subprotocols,
    parse_request,
    problem_answer,
    response_head,
    upgrade_problem,
    wants_websocket,
)
from realtime.engine.protocol.policy import Limits, SocketPolicy


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ([(b"upgrade", b"websocket")], True),
        ([(b"upgrade", b"WebSocket")], True),
        ([(b"upgrade", b"h2c, websocket")], True),
        ([(b"upgrade", b"h2c"), (b"upgrade", b"websocket")], True),
        ([(b"upgrade", b"h2c")], False),
        ([(b"upgrade", b"websockets")], False),
        ([(b"x-upgrade", b"websocket")], False),
        ([], False),
    ],
)
def test_request_for_a_websocket_is_known_by_its_upgrade_header(
    headers: list[tuple[bytes, bytes]], wanted: bool
) -> None:
    assert wants_websocket(headers) is wanted


def test_parsed_request_keeps_repeated_headers_apart() -> None:
    request = parse_request(b"GET /a%20b?c=d HTTP/1.1\r\nHost: x\r\nCookie: a=1\r\ncookie: b=2\r\n\r\n")
    assert request.path == b"/a%20b"
    assert header_values(request.headers, b"cookie") == ["a=1", "b=2"]


def test_scope_has_decoded_path_and_raw_path() -> None:
    request = Request(b"/r%C3%A4ume/1?q=%20", [(b"host", b"x"), (b"x_forged", b"1"), (b"daphne-root-path", b"/x")])
    scope = build_scope(request, scheme="wss", client=None, server=None, root_path="/app")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/räume/1", b"/r%C3%A4ume/1", b"q=%20")
    assert scope["headers"] == [(b"host", b"x")]
    assert scope["root_path"] == "/app"
    assert scope["subprotocols"] == []


def test_subprotocols_of_several_headers_are_one_list() -> None:
    request = Request(b"/", [(b"sec-websocket-protocol", b"a, b,"), (b"sec-websocket-protocol", b" c ")])
    scope = build_scope(request, scheme="ws", client=None, server=None, root_path="")
    assert scope["subprotocols"] == ["a", "b", "c"]


@pytest.mark.parametrize("header", [(b"x", b"a\r\nb: c"), (b"x\n", b"a"), (b"x", b"a\x00"), (b"", b"a")])
def test_header_that_would_break_its_line_is_an_error(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="header"):
        response_head(403, [header])


def test_response_ends_the_connection_whatever_the_application_says() -> None:
    head = response_head(299, [(b"Connection", b"keep-alive")])
    assert head == b"HTTP/1.1 299 \r\nConnection: close\r\n\r\n"


def test_problem_answer_has_the_length_of_its_body() -> None:
    head, _, body = problem_answer(503, "later", [("Retry-After", "1")]).partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert b"retry-after: 1" in head


UPGRADE = {
    b"host": b"example.com",
    b"connection": b"Upgrade",
    b"upgrade": b"websocket",
    b"sec-websocket-version": b"13",
    b"sec-websocket-key": b"dGhlIHNhbXBsZSBub25jZQ==",
}


def problem(*, method: str = "GET", version: str = "1.1", extra: tuple = (), **changes: bytes | None):
    headers = {**UPGRADE, **{name.replace("_", "-").encode(): value for name, value in changes.items()}}
    pairs = [(name, value) for name, value in headers.items() if value is not None]
    return upgrade_problem(method, version, [*pairs, *extra])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"connection": b"keep-alive, Upgrade"},
        {"connection": b"uPGRADE"},
        {"upgrade": b"WebSocket"},
        {"sec_websocket_key": b" dGhlIHNhbXBsZSBub25jZQ== "},
        {"extra": ((b"connection", b"keep-alive"),)},
    ],
)
def test_a_valid_handshake_has_no_problem(changes: dict) -> None:
    assert problem(**changes) is None


#: id, the one thing changed from a valid request, what the detail names
PROBLEMS = [
    ("method", {"method": "POST"}, "GET"),
    ("http 1.0", {"version": "1.0"}, "HTTP/1.1"),
    ("no connection", {"connection": None}, "Connection: Upgrade"),
    ("connection is keep-alive", {"connection": b"keep-alive"}, "Connection: Upgrade"),
    ("no upgrade", {"upgrade": None}, "Upgrade: websocket"),
    ("upgrade to h2c", {"upgrade": b"h2c"}, "Upgrade: websocket"),
    ("no host", {"host": None}, "Host"),
    ("empty host", {"host": b""}, "Host"),
    ("two hosts", {"extra": ((b"host", b"other"),)}, "Host"),
    ("no version", {"sec_websocket_version": None}, "Sec-WebSocket-Version: 13"),
    ("version 8", {"sec_websocket_version": b"8"}, "Sec-WebSocket-Version: 13"),
    ("two versions", {"extra": ((b"sec-websocket-version", b"8"),)}, "Sec-WebSocket-Version: 13"),
    ("no key", {"sec_websocket_key": None}, "Sec-WebSocket-Key"),
    ("empty key", {"sec_websocket_key": b""}, "Sec-WebSocket-Key"),
    ("key is no base64", {"sec_websocket_key": b"!" * 24}, "Sec-WebSocket-Key"),
    ("key of 15 bytes", {"sec_websocket_key": b"dGhlIHNhbXBsZSBub25j"}, "Sec-WebSocket-Key"),
    ("two keys", {"extra": ((b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),)}, "Sec-WebSocket-Key"),
]


@pytest.mark.parametrize(("changes", "named"), [row[1:] for row in PROBLEMS], ids=[row[0] for row in PROBLEMS])
def test_the_detail_names_what_is_missing(changes: dict, named: str) -> None:
    found = problem(**changes)
    assert found is not None
    assert named in found.detail


def test_the_answer_to_another_version_names_ours() -> None:
    found = problem(sec_websocket_version=b"8")
    assert found is not None
    assert found.headers == (("Sec-WebSocket-Version", "13"),)


OFFERS = [
    ("one line", [b"a, b"], ["a", "b"]),
    ("several lines are one list", [b"a,b", b"c"], ["a", "b", "c"]),
    ("empty items are skipped", [b",a,, ,b,"], ["a", "b"]),
    ("tabs are white space", [b"a\t,\tb"], ["a", "b"]),
    ("what is no token is no offer", [b"a b, \xff, c"], ["c"]),
    ("no line", [], []),
]


@pytest.mark.parametrize(("lines", "offers"), [row[1:] for row in OFFERS], ids=[row[0] for row in OFFERS])
def test_subprotocols_of_the_header(lines: list, offers: list) -> None:
    headers = [(b"host", b"x"), *((b"sec-websocket-protocol", line) for line in lines)]
    assert offered_subprotocols({"headers": headers}) == offers


def test_subprotocols_of_the_scope_count_as_the_header_does() -> None:
    """Servers such as uvicorn with wsproto take the header out of the scope, and a communicator has none."""
    assert offered_subprotocols({"headers": [], "subprotocols": ["b", "a b", "a"]}) == ["b", "a"]
    headers = [(b"sec-websocket-protocol", b"a, b")]
    assert offered_subprotocols({"headers": headers, "subprotocols": ["a", "b"]}) == ["a", "b"]
    assert offered_subprotocols({"headers": headers, "subprotocols": []}) == ["a", "b"]


KEY = (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")
#: The key's answer, from RFC 6455, 1.3.
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def answer(*headers: tuple[bytes, bytes]) -> HandshakeResponse:
    return HandshakeResponse(Request(b"/ws", [KEY, *headers]), ((b"Server", b"test"),))


def parsed(data: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    return line, dict(field.split(b": ", 1) for field in fields), body


def upgraded(each: HandshakeResponse, **event: Any) -> dict[bytes, bytes]:
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
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"content-length"] == str(len(body)).encode()
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
