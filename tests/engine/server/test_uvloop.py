"""The event loop of ``python -m project``: a reset connection is noticed by the reader and by the writer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("uvloop")

from realtime.engine.server.uvloop import ReactorLoop


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = ReactorLoop()
    with contextlib.closing(loop):
        yield loop


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A server's and a client's end of one TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    server.setblocking(False)
    with client, server:
        yield server, client


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def read_once(loop: asyncio.AbstractEventLoop, server: socket.socket, seen: list[bytes | type]) -> Callable[[], None]:
    """Return a reader that takes one piece at a time, as Twisted does, and stops at the end."""

    def read() -> None:
        try:
            data = server.recv(65536)
        except OSError as error:
            seen.append(type(error))
        else:
            seen.append(data)
            if data:
                return
        loop.remove_reader(server)
        loop.stop()

    return read


def run(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_later(10, loop.stop)
    loop.run_forever()


def test_reset_behind_data_is_noticed_at_once(loop, ends) -> None:
    server, client = ends
    seen: list[bytes | type] = []
    loop.add_reader(server, read_once(loop, server, seen))
    client.sendall(b"half a request")
    reset(client)
    run(loop)
    assert seen == [b"half a request", ConnectionResetError]


def test_reader_is_called_for_everything_that_arrives(loop, ends) -> None:
    server, client = ends
    seen: list[bytes | type] = []
    loop.add_reader(server, read_once(loop, server, seen))
    client.sendall(b"one")
    loop.call_later(0.05, client.sendall, b"two")
    loop.call_later(0.1, client.close)
    run(loop)
    assert seen == [b"one", b"two", b""]


def test_removed_reader_is_not_called_again(loop, ends) -> None:
    server, client = ends
    calls: list[int] = []

    def read() -> None:
        calls.append(len(calls))
        assert loop.remove_reader(server)
        loop.call_later(0.05, loop.stop)

    loop.add_reader(server, read)
    client.sendall(b"nobody takes this")
    run(loop)
    assert calls == [0]
    assert not loop.remove_reader(server)


def test_reader_that_removed_itself_may_come_back(loop, ends) -> None:
    server, client = ends
    seen: list[bytes | type] = []

    def pause() -> None:
        loop.remove_reader(server)
        loop.call_soon(loop.add_reader, server, read_once(loop, server, seen))

    loop.add_reader(server, pause)
    client.sendall(b"waits")
    reset(client)
    run(loop)
    assert seen == [b"waits", ConnectionResetError]


def test_a_write_to_a_reset_connection_shows_what_is_wrong(loop, ends) -> None:
    server, client = ends
    seen: list[type | None] = []

    def write() -> None:
        try:
            server.send(b"an answer")
        except OSError as error:
            seen.append(type(error))
        loop.remove_writer(server)
        loop.stop()

    loop.add_reader(server, lambda: None)  # never takes the error
    loop.call_soon(reset, client)
    loop.call_later(0.05, loop.remove_reader, server)
    loop.call_later(0.1, loop.add_writer, server, write)
    run(loop)
    assert seen == [ConnectionResetError]
