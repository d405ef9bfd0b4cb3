"""A body over the bound is refused before it is read; by Daphne's wire, and by the application under another server."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from typing import Any

import pytest

from realtime.engine.testing import ServerProcess, credentials

BOUND = 100_000
GIGABYTE = 1024**3
UVICORN = (sys.executable, "-m", "uvicorn", "--port", "{port}", "project.asgi:application")


@pytest.fixture(scope="module", params=[ServerProcess.DAPHNE, UVICORN], ids=["daphne", "uvicorn"])
def server(request: pytest.FixtureRequest, database_urls: Callable[[str], str]) -> Iterator[ServerProcess]:
    environment = {"DATABASE_URL": database_urls("sqlite"), "REALTIME_MAX_REQUEST_BODY": str(BOUND)}
    with ServerProcess(request.param, env=environment) as process:
        yield process


@contextlib.contextmanager
def begun(server: ServerProcess, *headers: str) -> Iterator[socket.socket]:
    """Send the head of a request that asks for a token."""
    lines = ["POST /api/token/ HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers, "", ""]
    with socket.create_connection(("127.0.0.1", server.port), 30) as sock:
        sock.sendall("\r\n".join(lines).encode())
        yield sock


def answer(sock: socket.socket) -> tuple[int, Any]:
    response = HTTPResponse(sock)
    response.begin()
    body = json.loads(response.read())
    assert response.getheader("Content-Type") == "application/problem+json"
    return response.status, body


def is_too_large(sock: socket.socket) -> bool:
    status, problem = answer(sock)
    return (status, problem["status"], str(BOUND) in problem["detail"]) == (413, 413, True)


@pytest.mark.parametrize("length", [BOUND + 1, GIGABYTE, 10**15])
def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(server: ServerProcess, length: int) -> None:
    with begun(server, f"Content-Length: {length}") as sock:
        assert is_too_large(sock)


def test_a_client_that_expects_100_continue_is_refused_before_its_body(server: ServerProcess) -> None:
    with begun(server, f"Content-Length: {GIGABYTE}", "Expect: 100-continue") as sock:
        assert is_too_large(sock)


def test_a_body_of_unknown_length_is_refused_at_the_bound(server: ServerProcess) -> None:
    chunk = b"2710\r\n" + b"x" * 10_000 + b"\r\n"
    with begun(server, "Transfer-Encoding: chunked") as sock:
        for _ in range(BOUND // 10_000 + 1):
            sock.sendall(chunk)
        assert is_too_large(sock)


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_within_the_bound_is_read(server: ServerProcess, framing: str) -> None:
    body = json.dumps(credentials("ann", "x" * 90_000)).encode()
    body += b" " * (BOUND - len(body))
    if framing == "length":
        header, sent = f"Content-Length: {BOUND}", body
    else:
        header, sent = "Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    with begun(server, header) as sock:
        sock.sendall(sent)
        # REST framework does not look at a body without Content-Length; it reached REST framework.
        assert answer(sock)[0] == (401 if framing == "length" else 400)


def test_the_server_goes_on_after_a_body_that_was_too_large(server: ServerProcess, new_api: Any) -> None:
    with begun(server, "Transfer-Encoding: chunked") as sock:
        sock.sendall(b"186a1\r\n" + b"x" * (BOUND + 1) + b"\r\n0\r\n\r\n")
        assert is_too_large(sock)
    assert new_api(server).request("GET", "/api/rooms/").status == 200


@pytest.mark.soak
def test_a_body_that_drips_is_refused_at_an_absolute_deadline(database_urls: Callable[[str], str]) -> None:
    environment = {"DATABASE_URL": database_urls("sqlite"), "REALTIME_MAX_REQUEST_BODY": "10"}
    with ServerProcess(env=environment) as server, begun(server, "Content-Length: 10") as sock:
        sock.sendall(b"{")
        assert answer(sock)[0] == 408
