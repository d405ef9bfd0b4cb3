from __future__ import annotations

import pytest

from realtime.engine.protocol.upgrade import offered_subprotocols, upgrade_problem

VALID = {
    b"host": b"example.com",
    b"connection": b"Upgrade",
    b"upgrade": b"websocket",
    b"sec-websocket-version": b"13",
    b"sec-websocket-key": b"dGhlIHNhbXBsZSBub25jZQ==",
}


def problem(*, method: str = "GET", version: str = "1.1", extra: tuple = (), **changes: bytes | None):
    headers = {**VALID, **{name.replace("_", "-").encode(): value for name, value in changes.items()}}
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
