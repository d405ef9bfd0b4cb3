"""A connection between an application and a transport that records what is written."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import weakref
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from realtime.engine.protocol.connection import Connection
from realtime.engine.protocol.errors import ProtocolStateError
from realtime.engine.protocol.http import Headers, Request
from realtime.engine.protocol.messages import SharedMessage
from realtime.engine.protocol.policy import Limits
from realtime.engine.protocol.reader import INFLATED_PER_TURN
from realtime.engine.protocol.state import State
from realtime.engine.server.asgi_connection import ASGIConnection
from realtime.engine.server.connection_metrics import ConnectionMetrics
from realtime.engine.server.drain import Drain
from realtime.engine.server.flusher import Flusher
from realtime.engine.server.uvloop import ReactorLoop

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
HEADERS = [(b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")]

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Notes(asyncio.Transport):
    """A transport, and the log of its server."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.calls: list[str] = []

    def log_action(self, protocol: str, action: str, details: dict[str, Any]) -> None:
        if action != "connecting":
            self.calls.append(action)

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written.append(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.calls.append("finish")

    def abort(self) -> None:
        self.calls.append("abort")

    @property
    def frames(self) -> bytes:
        """What was written behind the answer to the handshake."""
        return b"".join(self.written).partition(b"\r\n\r\n")[2]


class Bench:
    """A session with everything around it."""

    def __init__(self) -> None:
        self.notes = Notes()
        self.drain = Drain()
        self.session: ASGIConnection
        self.seen: list[dict[str, Any]] = []

    def start(
        self, application: Any, *, timeout: float = 10, opening: Any = None, headers: Headers = HEADERS
    ) -> ASGIConnection:
        scope: dict[str, Any] = {"type": "websocket", "path": "/ws", "raw_path": b"/ws", "headers": [], "client": None}
        connection = Connection(Request(b"/ws", headers), 0, defaults=Limits())
        metrics = ConnectionMetrics(scope, 0, self.notes.log_action)
        self.session = ASGIConnection(connection, metrics, drain=self.drain, application_timeout=timeout)
        self.session.start(application, scope, opening)
        if opening is None:
            self.session.connection_made(self.notes)
        return self.session

    async def echo(self, scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "policy": scope.get("policy")})
        while (event := await receive())["type"] != "websocket.disconnect":
            self.seen.append(event)
            await send({"type": "websocket.send", "text": event.get("text"), "bytes": event.get("bytes")})
        self.seen.append(event)

    async def until(self, state: State) -> None:
        """Wait for a state."""
        await eventually(lambda: self.session.state is state)
        await settled()


async def settled() -> None:
    """Let everything that is ready run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def eventually(condition: Callable[[], bool]) -> None:
    """Let the event loop run until something is true."""
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it has not come true")


def masked(opcode: int, payload: bytes = b"") -> bytes:
    assert len(payload) < 126
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload


def unmasked(opcode: int, payload: bytes = b"") -> bytes:
    assert len(payload) < 126
    return bytes([0x80 | opcode, len(payload)]) + payload


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    bench.session.kill()
    bench.session.connection_lost(None)
    await settled()
    assert not bench.drain.connections


async def test_message_goes_to_the_application_and_back(bench: Bench) -> None:
    session = bench.start(bench.echo)
    await bench.until(State.OPEN)
    session.data_received(masked(TEXT, b"hello"))
    await settled()
    assert bench.seen == [{"type": "websocket.receive", "text": "hello"}]
    assert bench.notes.frames == unmasked(TEXT, b"hello")
    assert bench.notes.calls == ["connected"]


async def test_what_is_sent_in_one_iteration_is_one_write(bench: Bench) -> None:
    session = bench.start(bench.echo)
    await bench.until(State.OPEN)
    bench.notes.written.clear()
    session.data_received(masked(TEXT, b"a") + masked(TEXT, b"b") + masked(PING, b"c"))
    await settled()
    assert bench.notes.written == [unmasked(PONG, b"c") + unmasked(TEXT, b"a") + unmasked(TEXT, b"b")]


async def test_pongs_are_written_while_a_long_read_goes_on(bench: Bench) -> None:
    session = bench.start(bench.echo)
    await bench.until(State.OPEN)
    bench.notes.written.clear()
    for _ in range(40):  # without the event loop's having a turn
        session.data_received(masked(PING, bytes(100)) * 100)
    assert sum(map(len, bench.notes.written)) >= 2 * Limits().write_buffer_size
    assert session.pending < Limits().write_buffer_size


async def test_send_waits_while_the_peer_does_not_read(bench: Bench) -> None:
    sent: list[int] = []

    async def application(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        for number in range(3):
            await send({"type": "websocket.send", "text": "x"})
            sent.append(number)
        await receive()

    session = bench.start(application)
    session.pause_writing()
    await bench.until(State.OPEN)
    assert sent == []
    session.resume_writing()
    await settled()
    assert sent == [0, 1, 2]


async def test_receive_that_is_cancelled_loses_no_event(bench: Bench) -> None:
    async def application(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while not bench.seen or bench.seen[-1]["type"] != "websocket.disconnect":
            receiving = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            receiving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                bench.seen.append(await receiving)

    session = bench.start(application)
    await bench.until(State.OPEN)
    session.data_received(masked(TEXT, b"x") * 200)
    session.connection_lost(None)
    await eventually(lambda: session.state is State.CLOSED and len(bench.seen) == 201)


async def test_second_receive_is_an_error(bench: Bench) -> None:
    errors: list[str] = []

    async def application(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        try:
            await receive()
        except RuntimeError as error:
            errors.append(str(error))
        await waiting

    bench.start(application)
    await bench.until(State.OPEN)
    assert errors == ["another receive() of this connection is waiting"]


async def test_event_that_is_not_legal_names_event_and_state(bench: Bench) -> None:
    errors: list[str] = []

    async def application(scope: Any, receive: Any, send: Send) -> None:
        try:
            await send({"type": "websocket.send", "text": "early"})
        except ProtocolStateError as error:
            errors.append(str(error))

    bench.start(application)
    await bench.until(State.LINGERING)
    assert len(errors) == 1
    assert "websocket.send" in errors[0]
    assert "connecting" in errors[0]


async def test_peer_is_not_read_from_while_the_application_does_not_take_its_messages(bench: Bench) -> None:
    go_on = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await go_on.wait()
        while (await receive())["type"] != "websocket.disconnect":
            pass

    session = bench.start(application)
    await bench.until(State.OPEN)
    session.data_received(masked(TEXT, b"x") * 1000)
    assert bench.notes.calls == ["connected", "pause"]
    go_on.set()
    await settled()
    await eventually(lambda: bench.notes.calls[-1] == "resume")


async def test_ping_behind_a_full_queue_is_answered_when_it_is_read(bench: Bench) -> None:
    go_on = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await go_on.wait()
        while (await receive())["type"] != "websocket.disconnect":
            pass

    session = bench.start(application)
    await bench.until(State.OPEN)
    bench.notes.written.clear()
    session.data_received(masked(TEXT, b"x") * 300 + masked(PING, b"behind"))
    go_on.set()
    await eventually(lambda: bool(bench.notes.written))
    assert bench.notes.written == [unmasked(PONG, b"behind")]


async def test_failed_application_is_logged_once_and_closed_with_1011(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def application(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        raise LookupError("deliberate")

    bench.start(application)
    await bench.until(State.CLOSING)
    [record] = [record for record in caplog.records if record.exc_info]
    assert record.getMessage() == 'The application failed path="/ws"'
    assert bench.notes.frames == unmasked(CLOSE, (1011).to_bytes(2, "big"))


async def test_application_that_does_not_return_is_cancelled(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    cancelled = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    session = bench.start(application, timeout=0.01)
    await bench.until(State.OPEN)
    with caplog.at_level(logging.WARNING, "realtime.wire"):
        session.connection_lost(None)
        await asyncio.wait_for(cancelled.wait(), 10)
    assert "is cancelled" in caplog.text
    assert bench.notes.calls[-1] == "disconnected"


async def test_transport_that_cannot_be_opened_ends_the_session(bench: Bench) -> None:
    called: list[str] = []

    async def application(scope: Any, receive: Any, send: Send) -> None:
        called.append("application")

    async def opening() -> None:
        raise ConnectionResetError

    bench.start(application, opening=opening)
    await bench.until(State.CLOSED)
    assert called == []
    assert bench.notes.calls == ["disconnected"]


async def test_restart_is_a_503_before_the_accept_and_a_1012_after_it(bench: Bench) -> None:
    async def waiting(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await receive()

    bench.start(waiting).restart()
    assert bench.notes.written[0].startswith(b"HTTP/1.1 503 ")
    assert "rejected" in bench.notes.calls
    bench.session.connection_lost(None)
    await settled()

    bench.notes = Notes()
    session = bench.start(bench.echo)
    await bench.until(State.OPEN)
    session.restart()
    assert bench.notes.frames == unmasked(CLOSE, (1012).to_bytes(2, "big") + b"the server is restarting")
    session.data_received(masked(CLOSE, (1012).to_bytes(2, "big")))
    await settled()
    assert bench.notes.calls[-1] == "finish"


async def test_slow_reader_of_a_fan_out_is_closed_with_1013(bench: Bench) -> None:
    async def application(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "policy": {"max_write_buffer_size": 1000, "write_buffer_size": 0}})
        bench.seen.append(await receive())

    session = bench.start(application)
    await bench.until(State.OPEN)
    session.pause_writing()
    for _ in range(12):
        session.send_nowait(SharedMessage(text="x" * 100))
    await settled()
    assert session.state is State.LINGERING
    assert bench.seen == [{"type": "websocket.disconnect", "code": 1013, "reason": "reading too slowly"}]


async def test_fan_out_is_not_kept_for_a_peer_that_was_lost_before_its_messages_were_read(bench: Bench) -> None:
    go_on = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await go_on.wait()
        while (event := await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": "an answer"})
            bench.seen.append(event)
        bench.seen.append(event)

    session = bench.start(application)
    await bench.until(State.OPEN)
    session.data_received(masked(TEXT, b"x") * 1000)
    session.connection_lost(None)
    for _ in range(20):
        session.send_nowait(SharedMessage(data=bytes(1_000_000)))
    assert session.pending == 0
    go_on.set()
    await bench.until(State.CLOSED)
    assert session.pending == 0
    assert len(bench.seen) == 1001
    assert bench.seen[-1] == {"type": "websocket.disconnect", "code": 1006, "reason": ""}


async def test_application_that_only_sends_ends_although_its_lost_peer_is_not_read_to_the_end(bench: Bench) -> None:
    async def application(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            await send({"type": "websocket.send", "bytes": bytes(1000)})

    session = bench.start(application, timeout=0.01)
    await bench.until(State.OPEN)
    session.data_received(masked(TEXT, b"x") * 1000)
    session.connection_lost(None)
    await eventually(lambda: not bench.drain.connections)
    assert session.pending == 0


async def test_fan_out_to_a_connection_without_a_transport_is_bounded(bench: Bench) -> None:
    async def application(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "policy": {"max_write_buffer_size": 1000}})
        await receive()

    async def opening() -> None:
        """Nothing comes of it yet."""

    session = bench.start(application, opening=opening)
    await bench.until(State.OPEN)
    for _ in range(12):
        session.send_nowait(SharedMessage(text="x" * 100))
    assert session.state is State.LINGERING
    assert session.pending < 1000


def compressed(payload: bytes) -> bytes:
    """A binary message that inflates to ``payload``."""
    compressor = zlib.compressobj(9, wbits=-12)
    data = (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert 126 <= len(data) < 1 << 16
    return bytes([0xC0 | BINARY, 0x80 | 126]) + len(data).to_bytes(2, "big") + bytes(4) + data


async def test_other_connections_are_served_while_a_large_message_is_inflated(bench: Bench) -> None:
    size = 30_000_000
    turns = 0

    async def others() -> None:
        nonlocal turns
        while not bench.seen and session.state is State.OPEN:
            turns += 1
            await asyncio.sleep(0)

    async def application(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "policy": {"compression": True, "max_message_size": None}})
        while (event := await receive())["type"] != "websocket.disconnect":
            bench.seen.append(event)

    session = bench.start(application, headers=[*HEADERS, (b"sec-websocket-extensions", b"permessage-deflate")])
    await bench.until(State.OPEN)
    bench.notes.written.clear()
    session.data_received(compressed(bytes(size)) + masked(TEXT, b"behind") + masked(PING, b"behind"))
    await others()
    assert turns >= size / INFLATED_PER_TURN
    await eventually(lambda: bool(bench.notes.written))
    assert [len(event.get("bytes") or event["text"]) for event in bench.seen] == [size, 6]
    assert bench.notes.written == [unmasked(PONG, b"behind")]
    assert bench.notes.calls[-2:] == ["pause", "resume"]


async def test_large_message_of_a_peer_that_is_lost_meanwhile_still_arrives(bench: Bench) -> None:
    async def application(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "policy": {"compression": True, "max_message_size": None}})
        while (event := await receive())["type"] != "websocket.disconnect":
            bench.seen.append(event)

    session = bench.start(application, headers=[*HEADERS, (b"sec-websocket-extensions", b"permessage-deflate")])
    await bench.until(State.OPEN)
    session.data_received(compressed(bytes(3_000_000)))
    session.connection_lost(None)
    assert session.state is State.LOST
    await bench.until(State.CLOSED)
    assert [len(event["bytes"]) for event in bench.seen] == [3_000_000]


async def test_connection_that_is_lost_reaches_the_application_as_1006(bench: Bench) -> None:
    session = bench.start(bench.echo)
    await bench.until(State.OPEN)
    session.connection_lost(None)
    await settled()
    assert bench.seen == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]
    assert bench.notes.calls[-1] == "disconnected"
    assert repr(session) == "<ASGIConnection closed>"


async def test_ping_that_is_due_is_written(bench: Bench) -> None:
    async def application(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "policy": {"ping_interval": 0.01}})
        await receive()

    bench.start(application)
    await bench.until(State.OPEN)
    await eventually(lambda: bool(bench.notes.frames))
    assert bench.notes.frames[0] == 0x80 | PING


class Sink:
    is_flushing = False

    def __init__(self, *, fails: bool = False) -> None:
        self.flushes = 0
        self.fails = fails
        self.done = asyncio.Event()

    def flush(self) -> None:
        self.is_flushing = False
        self.flushes += 1
        self.done.set()
        if self.fails:
            raise RuntimeError("deliberate")


async def test_everything_is_flushed_by_the_end_of_the_iteration() -> None:
    flusher = Flusher.of_running_loop()
    sinks = [Sink() for _ in range(3)]
    for sink in sinks:
        flusher.add(sink)
    assert [sink.flushes for sink in sinks] == [0, 0, 0]
    await asyncio.gather(*(sink.done.wait() for sink in sinks))
    assert [sink.flushes for sink in sinks] == [1, 1, 1]


async def test_one_that_fails_does_not_keep_the_others_from_being_flushed(caplog: pytest.LogCaptureFixture) -> None:
    flusher = Flusher.of_running_loop()
    bad, good = Sink(fails=True), Sink()
    flusher.add(bad)
    flusher.add(good)
    await good.done.wait()
    assert good.flushes == 1
    assert "could not be written" in caplog.text


async def test_there_is_one_for_each_loop() -> None:
    assert Flusher.of_running_loop() is Flusher.of_running_loop()


@pytest.mark.parametrize("new_loop", [asyncio.SelectorEventLoop, ReactorLoop])
def test_a_loop_that_was_closed_is_freed(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def flush_and_leave_one_waiting() -> weakref.ref[asyncio.AbstractEventLoop]:
        loop = asyncio.get_running_loop()
        for _ in range(2):
            sink = Sink()
            sink.loop = loop  # type: ignore[attr-defined]  # as a session holds it
            Flusher.of_running_loop().add(sink)
            await asyncio.sleep(0)
        Flusher.of_running_loop().add(sink)
        return weakref.ref(loop)

    loop = new_loop()
    freed = loop.run_until_complete(flush_and_leave_one_waiting())
    loop.close()
    del loop
    gc.collect()
    assert freed() is None
