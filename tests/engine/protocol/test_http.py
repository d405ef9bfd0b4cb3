"""Requests into scopes, answers into bytes."""

from __future__ import annotations

import pytest

from realtime.engine.protocol.http import (
    Request,
    build_scope,
    parse_request,
    problem_answer,
    response_head,
    wants_websocket,
)


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
    assert (request.path, request.query) == (b"/a%20b", b"c=d")
    assert request.values(b"cookie") == ["a=1", "b=2"]


def test_scope_has_decoded_path_and_raw_path() -> None:
    request = Request(b"/r%C3%A4ume/1?q=%20", [(b"host", b"x"), (b"x_forged", b"1"), (b"daphne-root-path", b"/x")])
    scope = build_scope(request, scheme="wss", client=None, server=None, root_path="/app", extensions={"a": {}})
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/räume/1", b"/r%C3%A4ume/1", b"q=%20")
    assert scope["headers"] == [(b"host", b"x")]
    assert scope["root_path"] == "/app"
    assert scope["subprotocols"] == []


def test_subprotocols_of_several_headers_are_one_list() -> None:
    request = Request(b"/", [(b"sec-websocket-protocol", b"a, b,"), (b"sec-websocket-protocol", b" c ")])
    scope = build_scope(request, scheme="ws", client=None, server=None, root_path="", extensions={})
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
