"""One connection between a transport and an ASGI application: its task, ``receive``, ``send`` and one timer."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, cast

from realtime.engine.monitoring.counters import traffic_of
from realtime.engine.monitoring.logs import CONNECTION_ID
from realtime.engine.protocol.close import CloseCode
from realtime.engine.protocol.connection import Connection
from realtime.engine.protocol.messages import SharedMessage
from realtime.engine.protocol.state import State
from realtime.engine.server.connection_metrics import ConnectionMetrics
from realtime.engine.server.drain import DRAIN, Drain
from realtime.engine.server.flusher import Flusher
from realtime.engine.server.policy_extension import PolicyExtension

logger = logging.getLogger("realtime.wire")

#: Events that an application takes or sends without waiting before other connections get a turn.
TURN = 64

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


@dataclass(slots=True, eq=False, repr=False)
class ASGIConnection(asyncio.Protocol):
    """Connects a transport to the application. It is the transport's asyncio protocol.

    Args:
        connection: the WebSocket protocol.
        metrics: what counts and logs the connection.
        drain: where living connections are registered.
        application_timeout: seconds that the application has to return after the end of the connection.

    Attributes:
        is_flushing: whether what is pending is written by the end of the event-loop iteration.
    """

    _connection: Connection
    _metrics: ConnectionMetrics
    _: KW_ONLY
    drain: Drain = DRAIN
    application_timeout: float = 10
    is_flushing: bool = False
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _flusher: Flusher = field(default_factory=Flusher.of_running_loop)
    _transport: asyncio.Transport | None = None
    _task: asyncio.Task[None] | None = None
    _receiver: asyncio.Future[None] | None = None
    _senders: list[asyncio.Future[None]] = field(default_factory=list)
    _alarm: asyncio.TimerHandle | None = None
    _alarm_at: float = math.inf
    _application_timer: asyncio.TimerHandle | None = None
    _state: State = State.CONNECTING  # as far as it has been acted on
    _reading: bool = True
    _finished: bool = False
    _has_turn_coming: bool = False
    _turn: int = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._connection.state.value}>"

    @property
    def state(self) -> State:
        return self._connection.state

    @property
    def pending(self) -> int:
        """Bytes that wait for the peer, here and in the transport."""
        size = self._connection.out.size
        return size if self._transport is None else size + self._transport.get_write_buffer_size()

    def start(
        self,
        application: Application,
        scope: dict[str, Any],
        opening: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Run the application, after ``opening()`` where the transport has still to be opened.

        The extensions are added to the ASGI scope.
        """
        extensions = scope.setdefault("extensions", {})
        extensions["websocket.http.response"] = {}
        extensions["websocket.policy"] = PolicyExtension(send_nowait=self.send_nowait, count_as=self.count_as)
        self.drain.add(self)
        context = contextvars.copy_context()
        context.run(CONNECTION_ID.set, self._metrics.id)
        self._task = self._loop.create_task(self._run(application, scope, opening), context=context)

    # asyncio.Protocol. A peer that has closed its side takes part no more (RFC 6455, 7.1.1): the inherited
    # ``eof_received()`` lets the transport close itself.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._settle()

    def data_received(self, data: bytes) -> None:
        connection = self._connection
        connection.traffic.bytes_in += len(data)
        connection.receive_data(data, self._loop.time())
        receiver = self._receiver
        if receiver is not None and connection.events and not receiver.done():
            receiver.set_result(None)
        size = connection.out.size
        if size and size >= connection.limits.write_buffer_size:
            self.flush()  # libuv reads megabytes in one iteration of the loop; their pongs must not wait for its end
        elif size and not self.is_flushing:
            self._flusher.add(self)
        if (
            connection.state is not self._state
            or connection.timeouts.next < self._alarm_at
            or connection.wants_data is not self._reading
        ):
            self._settle()

    def connection_lost(self, error: Exception | None) -> None:
        """Let the application know that the transport is gone."""
        self._transport = None
        self._connection.connection_lost(self._loop.time())
        self._settle()
        self._metrics.disconnected()
        self._forget()

    def pause_writing(self) -> None:
        self._connection.out.blocked = True

    def resume_writing(self) -> None:
        self._connection.unblocked()
        self.flush()
        if not self._connection.out.blocked:
            self._wake_senders()

    # From the application

    async def receive(self) -> dict[str, Any]:
        """ASGI ``receive``; after ``websocket.disconnect`` it waits until the application is cancelled.

        Raises:
            RuntimeError: while another ``receive()`` of the same connection is waiting.
        """
        self._turn += 1
        if self._turn >= TURN:
            self._turn = 0
            await asyncio.sleep(0)  # before an event is taken, which a cancellation would lose
        connection = self._connection
        while not connection.events:
            if self._receiver is not None:
                raise RuntimeError("another receive() of this connection is waiting")
            self._turn = 0
            self._receiver = self._loop.create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None
        event = connection.next_event(self._loop.time())
        assert event is not None
        if not self._reading or connection.state is not self._state:
            self._settle()
        return event

    async def send(self, event: dict[str, Any]) -> None:
        """ASGI ``send``; waits while the peer does not read.

        Raises:
            ProtocolStateError: for an event that is not legal in the state of the connection.
            ValueError: for an event with impossible values.
        """
        connection = self._connection
        connection.send(event, self._loop.time())
        if connection.state is not self._state or connection.timeouts.next < self._alarm_at:
            self._settle()
        out = connection.out
        if out.size >= connection.limits.write_buffer_size:
            self.flush()
        elif not self.is_flushing:
            self._flusher.add(self)
        while out.blocked and connection.state is State.OPEN:
            waiter = self._loop.create_future()
            self._senders.append(waiter)
            await waiter
        self._turn += 1
        if self._turn >= TURN:
            self._turn = 0
            await asyncio.sleep(0)

    def send_nowait(self, message: SharedMessage) -> None:
        """Queue one message that goes to many connections; never waits and never raises."""
        connection = self._connection
        connection.send_shared(message)
        if not self.is_flushing:
            self._flusher.add(self)
        out, limits = connection.out, connection.limits
        if not out.blocked and self._transport is not None:
            if out.size >= limits.write_buffer_size:
                self.flush()
        elif limits.max_write_buffer_size is not None and self.pending > limits.max_write_buffer_size:
            connection.overflow(self._loop.time())
            self._settle()

    def count_as(self, endpoint: str) -> None:
        """Count the connection under a route, never a path: there is a time series for each."""
        self._connection.traffic = traffic_of(endpoint)

    # From the server

    def restart(self) -> None:
        """Close the connection because the server is being stopped: 1012, or 503 before the accept."""
        self._connection.shut(CloseCode.SERVICE_RESTART, "the server is restarting", self._loop.time())
        self._settle()

    def kill(self) -> None:
        """End the connection and the application at once."""
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    def flush(self) -> None:
        """Write what is pending, as far as the transport takes it."""
        self.is_flushing = False
        transport, out = self._transport, self._connection.out
        if transport is None:
            return
        while out.size and not out.blocked:
            data = out.take()
            self._connection.traffic.bytes_out += len(data)
            transport.write(data)
        if self._state is State.LINGERING and not out.size and not self._finished:
            self._finished = True
            if transport.can_write_eof():
                transport.write_eof()
            else:
                transport.close()  # TLS has no half of a connection to close

    # Inside

    async def _run(
        self, application: Application, scope: dict[str, Any], opening: Callable[[], Awaitable[None]] | None
    ) -> None:
        connection = self._connection
        try:
            if opening is None or await self._open(opening):
                opening = None  # what it holds on to is not needed for as long as the connection lives
                await application(scope, self.receive, self.send)
        except asyncio.CancelledError:
            connection.application_returned(self._loop.time())
            raise
        except Exception:
            logger.exception("The application failed path=%s", json.dumps(self._metrics.raw_path))
            connection.application_failed(self._loop.time())
        else:
            connection.application_returned(self._loop.time())
        finally:
            self._task = None
            if self._application_timer is not None:
                self._application_timer.cancel()
            self._settle()
            self._forget()

    async def _open(self, opening: Callable[[], Awaitable[None]]) -> bool:
        try:
            await opening()
        except OSError:  # the peer has gone meanwhile
            self.connection_lost(None)
            return False
        return True

    def _settle(self) -> None:
        """Bring everything outside the connection in line with it."""
        connection = self._connection
        if connection.state is not self._state:
            before, self._state = self._state, connection.state
            self._metrics.update(connection, before, self._loop.time())
            self._state_changed()
        if self._receiver is not None and connection.events and not self._receiver.done():
            self._receiver.set_result(None)
        if connection.out.size and not self.is_flushing:
            self._flusher.add(self)
        transport = self._transport
        if transport is not None and self._reading is not connection.wants_data and self._state is not State.CLOSED:
            self._reading = connection.wants_data
            (transport.resume_reading if self._reading else transport.pause_reading)()
        if connection.timeouts.next < self._alarm_at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm_at = connection.timeouts.next
            self._alarm = self._loop.call_at(self._alarm_at, self._ring)
        if connection.wants_turn and not self._has_turn_coming:
            self._has_turn_coming = True
            self._loop.call_soon(self._go_on)

    def _state_changed(self) -> None:
        if self._state is not State.OPEN:
            self._wake_senders()
            if self._task is not None and self._application_timer is None and self._state is not State.DENYING:
                self._application_timer = self._loop.call_later(self.application_timeout, self._cancel_application)
        if self._state is State.CLOSED:
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None
            if self._transport is not None:
                self._transport.abort()
        elif self._state is not State.OPEN or self._connection.limits.write_buffer_size == 0:
            self.flush()

    def _go_on(self) -> None:
        self._has_turn_coming = False
        self._connection.go_on(self._loop.time())
        self._settle()

    def _ring(self) -> None:
        self._alarm = None
        self._alarm_at = math.inf
        self._connection.expire(self._loop.time())
        self._settle()

    def _forget(self) -> None:
        """Break the cycles once both the application and the transport are gone."""
        if self._task is None and self._transport is None:
            self.drain.discard(self)

    def _cancel_application(self) -> None:
        if self._task is not None:
            logger.warning(
                "The application did not return within %s s of the connection's end and is cancelled path=%s",
                self.application_timeout,
                json.dumps(self._metrics.raw_path),
            )
            self._task.cancel()

    def _wake_senders(self) -> None:
        senders, self._senders = self._senders, []
        for waiter in senders:
            if not waiter.done():
                waiter.set_result(None)
