"""HTTP requests, refused handshakes, and what Daphne's ``Server.connections`` says about them."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

#: One row: what is changed in a valid handshake, and the status. None removes a header.
REFUSALS = {
    "no Connection": ({"headers": {"Connection": None}}, 400, "Connection"),
    "Connection without Upgrade": ({"headers": {"Connection": "keep-alive"}}, 400, "Connection"),
    "no version": ({"headers": {"Sec-WebSocket-Version": None}}, 400, "Sec-WebSocket-Version: 13"),
    "version 8": ({"headers": {"Sec-WebSocket-Version": "8"}}, 400, "Sec-WebSocket-Version: 13"),
    "no key": ({"headers": {"Sec-WebSocket-Key": None}}, 400, "Sec-WebSocket-Key"),
    "short key": ({"headers": {"Sec-WebSocket-Key": "c2hvcnQ="}}, 400, "Sec-WebSocket-Key"),
    "no Host": ({"headers": {"Host": None}}, 400, "Host"),
    "body": ({"headers": {"Content-Length": "5"}, "body": b"hello"}, 400, "no body"),
    "body that never comes": ({"headers": {"Content-Length": "5"}}, 400, "no body"),
    "chunked body": ({"headers": {"Transfer-Encoding": "chunked"}}, 400, "no body"),
    "HTTP/1.0": ({"line": "GET /echo HTTP/1.0"}, 400, "HTTP/1.1"),
    "POST": ({"line": "POST /echo HTTP/1.1"}, 400, "GET"),
    "long request line": ({"path": "/echo?" + "a" * 9000}, 414, "8192"),
    "endless request line": ({"path": "/echo?" + "a" * 60_000}, 414, "8192"),
    "long header": ({"headers": {"Cookie": "a" * 16_370}}, 431, "16384"),
    "endless header": ({"headers": {"Cookie": "a" * 60_000}}, 431, "16384"),
    "many headers": ({"headers": {f"X-{number}": "1" for number in range(200)}}, 431, "128"),
    "no colon": ({"headers": {"Bad Header": "x"}}, 400, "HTTP/1.1"),
    "non-ASCII target": ({"path": "/echo\xe4"}, 400, "HTTP/1.1"),
    "vertical tab": ({"headers": {"X-Odd": "a\x0bb"}}, 400, "characters"),
}


@pytest.mark.parametrize(("change", "status", "detail"), REFUSALS.values(), ids=REFUSALS)
def test_refusal_is_a_problem_response_that_says_why(server: Any, change: Any, status: int, detail: str) -> None:
    answer, headers, body = server.handshake(**change)
    problem = json.loads(body)
    assert (answer, headers["content-type"]) == (status, "application/problem+json")
    assert problem["status"] == status
    assert problem["title"]
    assert detail in problem["detail"]


def test_answer_to_another_version_names_the_one_that_is_spoken(server: Any) -> None:
    _, headers, _ = server.handshake(headers={"Sec-WebSocket-Version": "8"})
    assert headers["sec-websocket-version"] == "13"


def test_refusal_ends_the_stream_without_a_reset(server: Any, response_of: Any) -> None:
    with contextlib.closing(server.socket()) as sock:
        sock.sendall(b"GET /" + b"a" * 200_000)
        assert response_of(sock)[0] == 414
        assert sock.recv(1) == b""


@pytest.fixture(scope="module")
def hasty(serve: Any) -> Iterator[Any]:
    """A server that waits half a second for the head of a request."""
    with serve("asyncio", env={"WIRE_TEST_HEAD_TIMEOUT": "0.5"}) as server:
        yield server


@pytest.mark.parametrize("half", [b"G", b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgr"])
def test_half_a_request_is_answered_with_408_at_an_absolute_deadline(hasty: Any, response_of: Any, half: bytes) -> None:
    with contextlib.closing(hasty.socket()) as sock:
        sock.sendall(half)
        status, headers, _ = response_of(sock)
    assert (status, headers["content-type"]) == (408, "application/problem+json")


def test_dripping_does_not_move_the_deadline(hasty: Any) -> None:
    with contextlib.closing(hasty.socket()) as sock:
        sock.settimeout(0.05)
        answer = b""
        deadline = time.monotonic() + 20
        while not answer and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError, ConnectionError):
                sock.sendall(b"X")
                answer = sock.recv(12)
        assert answer == b"HTTP/1.1 408"


def test_slow_body_of_an_ordinary_request_is_waited_for(hasty: Any, response_of: Any) -> None:
    with contextlib.ExitStack() as stack:
        upload, half = [stack.enter_context(contextlib.closing(hasty.socket())) for _ in range(2)]
        upload.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        half.sendall(b"POST /x HTTP/1.1\r\n")
        assert response_of(half)[0] == 408  # the deadline has passed
        upload.sendall(b"cd")
        status, _, body = response_of(upload)
    assert (status, json.loads(body)["body"]) == (200, 4)


def test_forged_root_path_has_no_effect(server: Any) -> None:
    with server.connect("/describe", additional_headers={"Daphne-Root-Path": "/forged"}) as client:
        scope = json.loads(client.recv())
    assert scope["root_path"] == ""
    assert "daphne-root-path" not in [name for name, _ in scope["headers"]]
    request = b"GET /x HTTP/1.1\r\nHost: x\r\nDaphne-Root-Path: /forged\r\nConnection: close\r\n\r\n"
    assert json.loads(server.request(request)[2])["root_path"] == ""


#: Trusted proxies, and the address of the client.
FORWARDED = [("0", "3.3.3.3"), ("1", "3.3.3.3"), ("2", "2.2.2.2"), ("9", "1.1.1.1")]


@pytest.fixture(scope="module")
def behind_proxies(serve: Any) -> Iterator[Any]:
    """A server with ``--proxy-headers``."""
    with serve("asyncio", options=("--proxy-headers",)) as server:
        yield server


@pytest.fixture(scope="module")
def trusting(serve: Any) -> Iterator[Any]:
    """A server whose settings say that there is a proxy, without ``--proxy-headers``."""
    with serve("asyncio", env={"REALTIME_TRUSTED_PROXIES": "1"}) as server:
        yield server


def assert_client_is(address: str, server: Any) -> None:
    forwarded = {"X-Forwarded-For": "1.1.1.1, 2.2.2.2, 3.3.3.3", "X-Forwarded-Proto": "https"}
    with server.connect("/describe", additional_headers=forwarded) as connection:
        scope = json.loads(connection.recv())
    assert scope["client"][0] == address
    assert scope["scheme"] == "wss"


@pytest.mark.parametrize(("proxies", "client"), FORWARDED)
def test_client_address_is_the_one_that_the_outermost_trusted_proxy_saw(
    behind_proxies: Any, proxies: str, client: str
) -> None:
    behind_proxies.get(f"/proxies?trusted={proxies}")
    assert_client_is(client, behind_proxies)


def test_number_of_proxies_is_that_of_the_settings_and_needs_no_option(trusting: Any) -> None:
    assert_client_is("3.3.3.3", trusting)
    trusting.get("/proxies?trusted=2")
    assert_client_is("2.2.2.2", trusting)


def test_root_path_of_a_client_is_not_believed_because_proxies_are_trusted(trusting: Any) -> None:
    request = b"GET /x HTTP/1.1\r\nHost: x\r\nDaphne-Root-Path: /forged\r\nConnection: close\r\n\r\n"
    assert json.loads(trusting.request(request)[2])["root_path"] == ""


def test_forwarded_address_is_not_believed_by_default(server: Any) -> None:
    with server.connect("/describe", additional_headers={"X-Forwarded-For": "1.1.1.1"}) as client:
        assert json.loads(client.recv())["client"][0] == "127.0.0.1"


def test_refusal_is_one_log_line_without_query_or_token(server: Any) -> None:
    secrets = {"Origin": "https://evil.example", "Authorization": "Bearer s3cret", "Sec-WebSocket-Version": "7"}
    server.handshake("/echo/here?token=s3cret", headers=secrets)
    lines = [line for line in server.process.log.splitlines() if "/echo/here" in line]
    assert len(lines) == 1
    for part in ("status=400", 'cause="', "origin=https://evil.example ", "host=localhost ", "path=/echo/here"):
        assert part in lines[0]
    assert "s3cret" not in server.process.log


def test_access_log_has_one_line_for_the_opening_and_one_for_the_close_without_the_query(server: Any) -> None:
    with server.connect("/echo", query={"marker": "abc", "ticket": "s3cret"}):
        pass
    server.journal()
    identity = re.findall(r" opened connection=(\w+) path=/echo ", server.process.log)[-1]
    lines = [line for line in server.process.log.splitlines() if f"connection={identity} " in line]
    assert len(lines) == 2
    assert f" closed connection={identity} code=1000 " in lines[1]
    assert "s3cret" not in server.process.log


def test_access_log_has_the_life_of_each_connection_without_its_query(serve: Any, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with serve("asyncio", options=("--access-log", str(log))) as server:
        with server.connect("/echo", query={"marker": "abc", "ticket": "s3cret"}):
            pass
        server.journal()
        server.handshake("/deny?ticket=s3cret")
    text = log.read_text()
    actions = [line.split('"')[1] for line in text.splitlines() if "/journal" not in line]
    assert actions == [
        "WSCONNECTING /echo",
        "WSCONNECT /echo",
        "WSDISCONNECT /echo",
        "WSCONNECTING /deny",
        "WSREJECT /deny",
        "WSDISCONNECT /deny",
    ]
    assert "s3cret" not in text


def test_crash_is_logged_once_with_its_traceback(server: Any) -> None:
    before = server.process.log.count("RuntimeError: a deliberate crash before the accept")
    server.handshake("/crash_before")
    server.get("/statistics")
    assert server.process.log.count("RuntimeError: a deliberate crash before the accept") == before + 1


@pytest.fixture(scope="module")
def _limited(serve: Any) -> Iterator[Any]:
    options = ("--websocket_connect_timeout", "1", "--application-close-timeout", "1")
    with serve("asyncio", options=(*options, "--websocket-max-message-size", "1000")) as server:
        yield server


@pytest.fixture
def limited(_limited: Any, at_rest: Any) -> Any:
    """A server that gives its applications and their messages little time and room, and an empty journal."""
    return at_rest(_limited)


def test_handshake_that_the_application_does_not_answer_is_refused_with_503(limited: Any) -> None:
    status, headers, _ = limited.handshake("/silent")
    assert (status, headers["content-type"]) == (503, "application/problem+json")
    assert limited.journal() == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


def test_client_that_leaves_during_the_handshake_is_a_disconnect(server: Any) -> None:
    with contextlib.closing(server.socket()) as sock:
        sock.sendall(b"GET /silent HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        sock.sendall(b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert server.journal() == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


def test_connection_that_has_lasted_too_long_is_closed_with_1001(serve: Any, read_frame: Any) -> None:
    with (
        serve("asyncio", options=("--websocket_timeout", "1")) as server,
        contextlib.closing(server.upgraded()) as sock,
    ):
        opcode, payload = read_frame(sock)
    assert (opcode, payload[:2]) == (8, (1001).to_bytes(2, "big"))


def test_pings_of_daphne_s_options_reach_a_consumer_without_a_policy(serve: Any, read_frame: Any) -> None:
    with (
        serve("asyncio", options=("--ping-interval", "1", "--ping-timeout", "1")) as server,
        contextlib.closing(server.upgraded()) as sock,
    ):
        assert read_frame(sock)[0] == 9
        assert read_frame(sock)[1][:2] == (1011).to_bytes(2, "big")


def test_size_options_of_daphne_apply_to_a_consumer_without_a_policy(limited: Any, frame: Any, read_frame: Any) -> None:
    with contextlib.closing(limited.upgraded()) as sock:
        sock.sendall(frame(1, b"x" * 1001))
        assert read_frame(sock)[1][:2] == (1009).to_bytes(2, "big")


def test_no_limit_is_what_daphne_s_size_options_say_with_0(serve: Any) -> None:
    with (
        serve("asyncio", options=("--websocket-max-message-size", "0", "--websocket-max-frame-size", "0")) as server,
        server.connect("/echo") as client,
    ):
        client.send(bytes(3 * 1024 * 1024))
        assert len(client.recv()) == 3 * 1024 * 1024


def test_application_that_does_not_return_is_cancelled(limited: Any) -> None:
    with limited.connect("/stubborn"):
        pass
    assert limited.journal() == ["cancelled"]
    assert re.search(r"did not return within 1 s .* path=.?/stubborn", limited.process.log)


def test_application_that_ignores_its_disconnect_gets_it_once_and_is_cancelled(limited: Any, at_rest: Any) -> None:
    with limited.connect("/heedless"):
        pass
    assert limited.journal(2) == ["websocket.disconnect", "cancelled"]
    at_rest(limited)


TRANSFER_CODINGS = [
    ["chunked", "identity"],
    ["identity", "chunked"],
    ["chunked", "chunked"],
    ["chunked, identity"],
    ["chunked, chunked"],
    ["gzip, chunked"],
    ["gzip"],
    ["identity"],
    ["xchunked"],
    [""],
]


@pytest.mark.parametrize("codings", TRANSFER_CODINGS, ids=repr)
@pytest.mark.parametrize("wants", ["websocket", "http"])
def test_transfer_codings_other_than_chunked_once_are_refused(server: Any, codings: list[str], wants: str) -> None:
    lines = "\r\n".join(["GET /journal?wait=0 HTTP/1.1", *(f"Transfer-Encoding: {coding}" for coding in codings)])
    upgrade = {} if wants == "websocket" else {"Upgrade": None, "Connection": "close"}
    status, headers, _ = server.handshake(line=lines, headers=upgrade, body=b"0\r\n\r\n")
    assert (status, headers["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize("upgrade", ["", "Connection: Upgrade\r\nUpgrade: websocket\r\n"], ids=["http", "websocket"])
@pytest.mark.parametrize("body", [b"", b"0\r\n\r\n"], ids=["no body", "a body"])
def test_transfer_encoding_in_http_1_0_is_answered_with_400(server: Any, upgrade: str, body: bytes) -> None:
    head = f"GET /echo HTTP/1.0\r\nHost: localhost\r\n{upgrade}Transfer-Encoding: chunked\r\n\r\n"
    status, headers, answer = server.request(head.encode() + body)
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert "HTTP/1.1" in json.loads(answer)["detail"]


def test_chunked_body_of_an_ordinary_request_is_read(server: Any) -> None:
    head = b"GET /journal?wait=0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: Chunked\r\n\r\n"
    assert server.request(head + b"1\r\nx\r\n0\r\n\r\n")[0] == 200


def test_crash_in_the_middle_of_a_response_does_not_end_the_server_s_loops(server: Any) -> None:
    with contextlib.closing(server.socket()) as sock:
        sock.sendall(b"GET /half HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while piece := sock.recv(1000):  # broken off: the loop that noticed the crash is alive
            received += piece
    assert b"half" in received
    with contextlib.closing(server.socket()) as sock:
        sock.sendall(b"GET /half HTTP/1.1\r\nHost: x\r\n\r\n")
        while sock.recv(1000):
            pass


def test_a_request_after_another_on_one_connection_may_be_an_upgrade(server: Any, response_of: Any) -> None:
    with contextlib.closing(server.socket()) as sock:
        sock.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        assert response_of(sock)[0] == 200
        sock.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n")
        sock.sendall(b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        assert sock.recv(12) == b"HTTP/1.1 101"


def test_accept_key_is_that_of_the_specification(server: Any) -> None:
    with server.connect("/echo") as client:
        assert client.response.status_code == 101
    status, headers, _ = server.handshake("/deny")
    assert (status, headers["connection"]) == (401, "close")
