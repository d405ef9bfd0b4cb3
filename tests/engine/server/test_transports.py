"""The contract of every adapter: asyncio in Daphne (TCP, UNIX, uvloop), Twisted over TLS, uvicorn."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MIB = 1024 * 1024


@pytest.mark.parametrize("message", ["hi", "", "ÄÖ€😀", b"\x00\xff", b"", "x" * 70_000, b"y" * 300_000])
def test_echo_returns_the_message_unchanged_and_of_the_same_kind(each: Any, message: str | bytes) -> None:
    with each.connect("/echo") as client:
        client.send(message)
        assert client.recv() == message


def test_accept_carries_headers_and_subprotocol(each: Any) -> None:
    with each.connect("/echo", subprotocols=["b", "a"]) as client:
        assert client.subprotocol == "b"
        assert client.response.headers.get_all("x-test") == ["1", "2"]


def test_scope_says_what_the_request_was(each: Any) -> None:
    with each.connect(
        "/describe", query={"a": "1"}, additional_headers=[("Cookie", "a=1"), ("Cookie", "b=2")]
    ) as client:
        scope = json.loads(client.recv())
    assert scope["scheme"] == ("ws" if each.tls is None or "uvicorn" in str(each.process.command) else "wss")
    assert scope["path"] == "/describe"
    assert scope["query_string"] == "a=1"
    assert scope["http_version"] == "1.1"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.3"}
    assert scope["extensions"] == ["websocket.http.response", "websocket.policy"]
    assert [value for name, value in scope["headers"] if name == "cookie"] == ["a=1", "b=2"]
    assert (scope["client"] is None) == (each.unix is not None)


def test_scope_can_be_copied_and_pickled(each: Any) -> None:
    with each.connect("/copied") as client:
        assert json.loads(client.recv()) == {"websocket.http.response": {}, "websocket.policy": {"version": "1"}}


@pytest.mark.parametrize(
    ("code", "reason"),
    [(1000, ""), (1001, "away"), (1008, "ä" * 61), (1012, "r"), (1013, "x"), (3008, "y"), (4321, "z")],
)
def test_close_code_and_reason_arrive_as_the_application_gave_them(each: Any, code: int, reason: str) -> None:
    with each.connect("/close", query={"code": code, "reason": reason}) as client:
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert (client.protocol.close_rcvd.code, client.protocol.close_rcvd.reason) == (code, reason)
    assert each.journal() == [{"type": "websocket.disconnect", "code": code, "reason": reason}]


def test_close_of_the_client_reaches_the_application_and_comes_back_with_code_and_reason(each: Any) -> None:
    with each.connect("/echo") as client:
        client.close(4001, "bye")
        assert (client.protocol.close_rcvd.code, client.protocol.close_rcvd.reason) == (4001, "bye")
    assert each.journal() == [{"type": "websocket.disconnect", "code": 4001, "reason": "bye"}]


def test_lost_connection_reaches_the_application_as_1006(each: Any) -> None:
    each.upgraded().close()
    assert each.journal() == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


def test_message_over_the_limit_is_closed_with_1009_before_its_payload_has_arrived(
    each: Any, frame: Any, read_frame: Any
) -> None:
    with contextlib.closing(each.upgraded(policy={"max_message_size": 100, "max_frame_size": 100})) as sock:
        sock.sendall(frame(BINARY, bytes(101))[:8])
        opcode, payload = read_frame(sock)
        assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, 1009)
        assert read_frame(sock) is None


def test_consumer_without_a_policy_takes_one_mebibyte_and_no_more(each: Any) -> None:
    with each.connect("/echo") as client:
        client.send(bytes(MIB))
        assert len(client.recv()) == MIB
        with contextlib.suppress(ConnectionClosed):  # it may be closed before all is sent
            client.send([bytes(MIB), b"x"])
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert client.protocol.close_rcvd.code == 1009


def test_close_frame_arrives_although_the_peer_is_still_sending(each: Any, frame: Any, read_frame: Any) -> None:
    with contextlib.closing(each.upgraded(policy={"max_message_size": 100})) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(frame(BINARY, bytes(200_000)))
        opcode, payload = read_frame(sock)
    assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, 1009)


def test_crash_after_the_accept_is_closed_with_1011(each: Any) -> None:
    with each.connect("/crash") as client:
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert client.protocol.close_rcvd.code == 1011


@pytest.mark.parametrize(("path", "status"), [("/crash_before", 500), ("/give_up_before", 500), ("/refuse", 403)])
def test_handshake_that_is_not_accepted_gets_a_problem_response(each: Any, path: str, status: int) -> None:
    answer, headers, body = each.handshake(path)
    assert answer == status
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["status"] == status


def test_application_that_returns_is_closed_with_1000(each: Any) -> None:
    with each.connect("/give_up") as client:
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert client.protocol.close_rcvd.code == 1000


def test_denial_response_arrives_as_the_application_sent_it(each: Any) -> None:
    with pytest.raises(InvalidStatus) as caught:
        each.connect("/deny")
    response = caught.value.response
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["content-type"] == "text/plain"
    assert response.body == b"not you"


def test_event_that_is_not_legal_is_an_error_that_names_state_and_event(each: Any) -> None:
    with each.connect("/illegal"):
        assert each.journal(2) == [
            "'websocket.send' is not legal while the connection is connecting",
            "'websocket.accept' is not legal while the connection is open",
        ]


def test_ping_of_the_application_comes_back_with_its_latency(each: Any) -> None:
    with each.connect("/pinger") as client, pytest.raises(ConnectionClosed):
        client.recv()
    assert each.journal() == [["websocket.pong", "how are you", True]]


def test_ping_of_the_client_is_answered_while_the_application_is_busy(each: Any) -> None:
    with each.connect("/busy") as client:
        client.send("work")
        assert client.recv() == "busy"
        client.send("more")
        assert client.ping().wait(20)
        each.get("/release")
        assert client.recv() == "done"


def test_silent_peer_is_closed_with_1011_and_its_connection_ended(each: Any, read_frame: Any) -> None:
    with contextlib.closing(each.upgraded(policy={"ping_interval": 0.05, "ping_timeout": 0.1})) as sock:
        assert read_frame(sock)[0] == PING
        opcode, payload = read_frame(sock)
        assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, 1011)
        assert read_frame(sock) is None
    assert each.journal() == [{"type": "websocket.disconnect", "code": 1011, "reason": "no answer to a ping"}]


@pytest.fixture
def _short_linger(each: Any) -> Iterator[None]:
    """Let the server wait less than two seconds for a peer that does not end its connection."""
    each.get("/linger?seconds=0.1")
    yield
    each.get("/linger?seconds=2")


@pytest.mark.usefixtures("_short_linger")
def test_silent_peer_that_keeps_its_socket_open_is_left(each: Any, read_frame: Any) -> None:
    with contextlib.closing(each.upgraded(policy={"ping_interval": 0.05, "ping_timeout": 0.1})) as sock:
        assert each.journal()[0]["code"] == 1011  # nothing was read, nothing was closed here
        assert_forgotten(each)
        assert read_frame(sock)[0] == PING


#: A client in a process of its own, with its TCP connection handed down.
CLIENT = """
import os, socket
sock = socket.socket(fileno=os.dup(0))
sock.setblocking(True)  # which it is not: the one who handed it down has a timeout
print("connected", flush=True)
while data := sock.recv(65536):
    print("read", flush=True)
"""


@contextlib.contextmanager
def peer(sock: Any) -> Iterator[subprocess.Popen[str]]:
    """Let another process read from a connection."""
    with subprocess.Popen((sys.executable, "-c", CLIENT), stdin=sock, stdout=subprocess.PIPE, text=True) as process:
        sock.close()  # it has its own
        assert process.stdout is not None
        assert process.stdout.readline() == "connected\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.usefixtures("_short_linger")
def test_peer_that_is_stopped_is_closed_with_1011_and_its_connection_ended(each: Any) -> None:
    if each.tls is not None:
        pytest.skip("TLS cannot be handed to another process; what ends the connection is the same")
    with peer(each.upgraded(policy={"ping_interval": 0.2, "ping_timeout": 0.2})) as process:
        process.send_signal(signal.SIGSTOP)
        assert each.journal() == [{"type": "websocket.disconnect", "code": 1011, "reason": "no answer to a ping"}]
        assert_forgotten(each)


def assert_forgotten(server: Any) -> None:
    """Wait until nothing is left of any connection."""
    deadline = time.monotonic() + 20
    while server.get("/statistics")["sessions"]:
        assert time.monotonic() < deadline, "the server has kept the connection"


def test_frames_sent_together_with_the_request_are_not_lost(each: Any, frame: Any, read_frame: Any) -> None:
    if "uvicorn" in each.process.command:
        pytest.skip("uvicorn drops them before it hands the connection over")
    with contextlib.closing(each.upgraded(extra=frame(TEXT, b"early") + frame(TEXT, b"bird"))) as sock:
        assert read_frame(sock) == (TEXT, b"early")
        assert read_frame(sock) == (TEXT, b"bird")


def test_one_shared_message_reaches_every_member(each: Any) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(each.connect("/fanout")) for _ in range(5)]
        assert [client.recv() for client in clients] == ["joined"] * 5
        clients[0].send("to all")
        assert [client.recv() for client in clients] == ["to all"] * 5


def test_reader_that_is_too_slow_for_the_fan_out_is_closed_with_1013(each: Any, read_frame: Any) -> None:
    with contextlib.closing(
        each.upgraded("/fanout", policy={"max_write_buffer_size": 100_000, "write_buffer_size": 1000})
    ) as slow:
        assert read_frame(slow) == (TEXT, b"joined")
        with each.connect("/fanout") as client:
            assert client.recv() == "joined"
            entries: list[Any] = []
            for _ in range(2000):
                client.send(bytes(100_000))
                client.recv()
                entries = each.get("/journal") if _ % 100 == 99 else []
                if entries:
                    break
        assert entries == [{"type": "websocket.disconnect", "code": 1013, "reason": "reading too slowly"}]


def test_send_waits_while_the_peer_does_not_read(each: Any) -> None:
    with contextlib.closing(each.upgraded("/talker")):
        each.get("/statistics")
    (count,) = each.journal()
    assert count < 1000, "a third of a gigabyte was taken for a peer that reads nothing"


def test_application_that_does_not_receive_stops_the_peer(each: Any, frame: Any, read_frame: Any) -> None:
    with contextlib.closing(each.upgraded("/stuck")) as sock:
        sock.settimeout(0.5)
        sent = 0
        message = frame(BINARY, bytes(50_000))
        with contextlib.suppress(TimeoutError):
            for _ in range(2000):
                sock.sendall(message)
                sent += 1
        assert sent < 2000
        sock.settimeout(20)
        each.get("/release")
        assert [read_frame(sock) for _ in range(sent)] == [(TEXT, b"50000")] * sent


def test_compression_is_negotiated_where_the_policy_asks_for_it(each: Any) -> None:
    with each.connect("/echo", policy={"compression": True}, compression="deflate") as client:
        assert "permessage-deflate" in client.response.headers["Sec-WebSocket-Extensions"]
        for message in ("x" * 10_000, "", b"\x00" * 100_000):
            client.send(message)
            assert client.recv() == message


def test_compression_is_not_offered_by_default(each: Any) -> None:
    with each.connect("/echo", compression="deflate") as client:
        assert "Sec-WebSocket-Extensions" not in client.response.headers


def test_nothing_is_left_of_connections_that_have_ended(each: Any) -> None:
    for _ in range(20):
        with each.connect("/echo") as client:
            client.send("x")
            client.recv()
    each.journal(20)
    before = each.get("/statistics")
    for _ in range(20):
        with each.connect("/echo") as client:
            client.send("x")
            client.recv()
    each.journal(20)
    after = each.get("/statistics")
    assert after["sessions"] == before["sessions"] == 0
    assert after["descriptors"] <= before["descriptors"]
