"""What is left of very many connections, and of peers that do not read."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import os
import random
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from realtime.engine.testing import ServerProcess

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

#: Connections of the churn; the environment may ask for fewer.
CONNECTIONS = int(os.environ.get("SOAK_CONNECTIONS", "100000"))
WORKERS = 40
WARM_UP = 6000
MIB = 1024 * 1024
MASK = b"\x01\x02\x03\x04"
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9

HANDSHAKE = (
    b"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(opcode: int, payload: bytes) -> bytes:
    length = len(payload)
    head = bytes((0x80 | opcode, 0x80 | length)) if length < 126 else struct.pack("!BBH", 0x80 | opcode, 0xFE, length)
    key = MASK * (length // 4 + 1)
    return head + MASK + bytes(left ^ right for left, right in zip(payload, key, strict=False))


@pytest.fixture(params=["daphne", "uvloop"])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    program = {"daphne": ("daphne",), "uvloop": ("project",)}[request.param]
    command = (
        sys.executable,
        "-m",
        *program,
        "-v",
        "0",
        "-b",
        "127.0.0.1",
        "-p",
        "{port}",
        "tests.engine.server.apps:application",
    )
    with ServerProcess(command, env={"DATABASE_URL": "sqlite://:memory:"}, fork=False) as process:
        yield process


def statistics(server: ServerProcess, most: int = 50) -> dict[str, Any]:
    """Return the server's statistics once no session and at most so many descriptors are left."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = ask(server)
        if not found["sessions"] and found["descriptors"] <= most:
            return found
        time.sleep(0.1)
    raise AssertionError(found)


def ask(server: ServerProcess) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/statistics")
        return json.loads(connection.getresponse().read())


def memory(server: ServerProcess) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def descriptors(server: ServerProcess) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


async def one(port: int, source: str, how: str) -> None:
    """Open a connection and end it: in order, by a reset, by a reset in the middle of a frame or of the handshake."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        request = HANDSHAKE % b"/echo"
        if how == "half a handshake":
            writer.write(request[: len(request) // 2])
            await writer.drain()
            return
        writer.write(request)
        await reader.readuntil(b"\r\n\r\n")
        if how == "in order":
            writer.write(frame(TEXT, b"hello") + frame(CLOSE, b"\x03\xe8"))
            await reader.read()
        elif how == "mid-frame":
            writer.write(frame(BINARY, bytes(1000))[:500])
            await writer.drain()
    finally:
        linger = struct.pack("ii", 1, 0)
        if how != "in order":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()


async def churn(port: int, count: int) -> None:
    ways = ["in order", "in order", "in order", "reset", "mid-frame", "half a handshake"]
    left = itertools.count()

    async def worker(number: int) -> None:
        chance = random.Random(number)
        while next(left) < count:
            await one(port, f"127.0.1.{number + 1}", chance.choice(ways))

    await asyncio.gather(*(worker(number) for number in range(WORKERS)))


def test_nothing_is_left_of_very_many_connections(server: ServerProcess) -> None:
    asyncio.run(churn(server.port, WARM_UP))
    before = statistics(server)
    asyncio.run(churn(server.port, CONNECTIONS))
    after = statistics(server, before["descriptors"] + 2)
    assert after["tasks"] == before["tasks"]
    assert after["memory"] - before["memory"] < 8 * MIB, (before, after)


def connect(server: ServerProcess, path: bytes) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.port))
    sock.sendall(HANDSHAKE % path)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return sock


def pour(sock: socket.socket, data: bytes, total: int) -> int:
    """Send ``data`` again and again until ``total`` bytes are gone or the server takes no more for two seconds."""
    sock.settimeout(2)
    gone = 0
    with contextlib.suppress(TimeoutError):
        while gone < total:
            sock.sendall(data)
            gone += len(data)
    return gone


def test_client_that_never_reads_its_echoes_costs_a_bounded_amount(server: ServerProcess) -> None:
    with contextlib.closing(connect(server, b"/echo")) as sock:
        pour(sock, frame(BINARY, bytes(1000)) * 100, MIB)
    before = memory(server)
    with contextlib.closing(connect(server, b"/echo")) as sock:
        gone = pour(sock, frame(BINARY, bytes(1000)) * 1000, 100 * MIB)
        assert gone < 100 * MIB
        assert memory(server) - before < 4 * MIB


def test_client_that_never_reads_its_pongs_costs_a_bounded_amount(server: ServerProcess) -> None:
    with contextlib.closing(connect(server, b"/echo")) as sock:
        pour(sock, frame(PING, bytes(100)) * 100, MIB)
    before = memory(server)
    with contextlib.closing(connect(server, b"/echo")) as sock:
        assert pour(sock, frame(PING, bytes(100)) * 10_000, 24 * MIB) >= 24 * MIB
        assert memory(server) - before < 4 * MIB


def test_application_that_never_receives_costs_a_bounded_amount(server: ServerProcess) -> None:
    before = memory(server)
    with contextlib.closing(connect(server, b"/stuck")) as sock:
        gone = pour(sock, frame(BINARY, bytes(1000)) * 1000, 100 * MIB)
        assert gone < 100 * MIB
        assert memory(server) - before < 4 * MIB


def test_idle_connection_of_a_real_consumer_is_small() -> None:
    command = (sys.executable, "-m", "daphne", "-v", "0", "-p", "{port}", "project.asgi:application")
    with (
        ServerProcess(command, env={"DJANGO_LOG_LEVEL": "WARNING"}, fork=False) as process,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(200):
            stack.enter_context(contextlib.closing(connect(process, b"/ws")))
        before, opened = memory(process), descriptors(process)
        for _ in range(1000):
            stack.enter_context(contextlib.closing(connect(process, b"/ws")))
        assert descriptors(process) >= opened + 1000  # and perhaps the reporter's database
        each = (memory(process) - before) / 1000
        assert each < 24 * 1024, f"{each / 1024:.1f} KiB"
