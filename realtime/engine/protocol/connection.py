"""One WebSocket connection without I/O: bytes and ASGI events in, bytes and ASGI events out, and the time as a number.

::

    receive_data(data, now) ----> next_event(now)        what the application receives
    send(event, now), send_shared(message)               what it sends
    out.take() <---------------------------------------  what goes to the peer
    timeouts.next, expire(now)                           what is due at a time
    wants_turn, go_on(now)                               work that goes on in the next turn of the event loop

The caller reads from the peer only while ``wants_data`` is true: a connection whose application does not take its
events stops parsing, and what it holds stays within bounds.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, InitVar, dataclass, field
from typing import Any

from realtime.engine.monitoring.counters import UNROUTED, Traffic, traffic_of
from realtime.engine.protocol.close import MAX_CONTROL_PAYLOAD, CloseCode, is_sendable, truncate_reason
from realtime.engine.protocol.deflate import Deflate
from realtime.engine.protocol.errors import PeerViolation
from realtime.engine.protocol.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    ControlFrame,
    encode_close,
    encode_frame,
    parse_close,
)
from realtime.engine.protocol.http import HandshakeResponse, Request
from realtime.engine.protocol.messages import SharedMessage
from realtime.engine.protocol.policy import Limits
from realtime.engine.protocol.reader import MessageReader
from realtime.engine.protocol.send_buffer import SendBuffer
from realtime.engine.protocol.state import Event, State, next_state
from realtime.engine.protocol.timeouts import Deadline, Timeouts

#: Cause of a refusal that the application has sent; it knows, and logs, the real one.
BY_APPLICATION = "refused by the application"
#: What may arrive before the application has accepted, in bytes.
MAX_EARLY_DATA = 64 * 1024
#: Received messages that wait for the application; at either bound no more are parsed.
MAX_QUEUED_BYTES = 256 * 1024
MAX_QUEUED_MESSAGES = 256
#: States in which the application is given the messages of the peer.
_DELIVERING = (State.OPEN, State.LOST)


@dataclass(slots=True, eq=False, repr=False)
class Connection:
    """The protocol of one connection, from the request to the end.

    Args:
        request: a request whose upgrade headers have been checked.
        now: the time in seconds; the clock is the caller's.
        defaults: limits for an application that accepts without a policy.
        answer_timeout: seconds that the application has to answer the handshake, None for no limit.
        lifetime: seconds after which the connection is closed with 1001, None for no limit.
        headers: headers of every answer, such as ``Server``.

    Attributes:
        state: read it, never set it.
        events: what ``next_event()`` returns next; look at it, never change it.
        out: the bytes for the peer.
        wants_data: whether the peer should be read from.
        limits: what is enforced since the accept.
        refusal: HTTP status and cause of a refused handshake, None for none.
        closed_with: code and reason that the application's ``websocket.disconnect`` carries, None before the end.
        closed_by: who ended it: ``client``, ``server``, or ``network`` where the transport was lost.
        timeouts: ``next`` is when ``expire()`` has to be called at the latest, infinite for never.
        traffic: where messages are counted; those of its endpoint once that is known.
    """

    request: InitVar[Request]
    now: InitVar[float]
    _: KW_ONLY
    defaults: Limits
    answer_timeout: InitVar[float | None] = None
    lifetime: InitVar[float | None] = None
    headers: InitVar[tuple[tuple[bytes, bytes], ...]] = ()

    state: State = State.CONNECTING
    limits: Limits = field(init=False)
    out: SendBuffer = field(default_factory=SendBuffer)
    timeouts: Timeouts = field(init=False)
    traffic: Traffic = field(default_factory=lambda: traffic_of(UNROUTED))
    refusal: tuple[int, str] | None = None
    closed_with: tuple[int, str] | None = None
    closed_by: str = "network"
    #: Messages as they are, all else as ASGI events. A list, because an empty deque takes 600 bytes.
    events: list[str | bytes | dict[str, Any]] = field(default_factory=list)
    wants_data: bool = True
    _held: int = 0  # length of the messages among the events
    _early: bytearray = field(default_factory=bytearray)
    _response: HandshakeResponse | None = None
    _reader: MessageReader | None = None
    _deflate: Deflate | None = None
    _announces_pongs: bool = False
    _pending_pong: bytes | None = None

    def __post_init__(
        self,
        request: Request,
        now: float,
        answer_timeout: float | None,
        lifetime: float | None,
        headers: tuple[tuple[bytes, bytes], ...],
    ) -> None:
        self.limits = self.defaults
        self.timeouts = Timeouts(now, self.defaults, answer_timeout=answer_timeout, lifetime=lifetime)
        self._response = HandshakeResponse(request, headers)
        self.events.append({"type": "websocket.connect"})

    # For the caller

    @property
    def wants_turn(self) -> bool:
        """Whether ``go_on()`` is to be called in the next turn of the event loop."""
        reader = self._reader
        if reader is None or not reader.is_inflating:
            return False
        return self._has_room or self.state not in _DELIVERING

    @property
    def _has_room(self) -> bool:
        return self._held < MAX_QUEUED_BYTES and len(self.events) < MAX_QUEUED_MESSAGES

    # From the peer

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes of the peer; they become events in ``next_event()`` and answers in ``out``."""
        reader = self._reader
        if reader is not None:
            if self.wants_data:
                self._read(reader, now, data)
            else:
                reader.feed(data)
        elif self.state is State.CONNECTING:
            self._early += data
            self.wants_data = len(self._early) < MAX_EARLY_DATA

    def go_on(self, now: float) -> None:
        """Go on to inflate a message of the peer, for one turn."""
        if self._reader is not None:
            self._read(self._reader, now)

    def connection_lost(self, now: float) -> None:
        """End the connection, once what arrived before has been read."""
        if self.state is State.OPEN and not self.wants_data:
            self.state = next_state(self.state, Event.LOST_UNREAD)
            self.timeouts.clear()
            self.out.clear()
        else:
            self._end(now)

    def _end(self, now: float) -> None:
        self.state = next_state(self.state, Event.LOST)
        self._disconnected(CloseCode.ABNORMAL, "", "network")
        self._stop_reading()
        self.timeouts.clear()
        self.out.clear()

    def _read(self, reader: MessageReader, now: float, data: bytes = b"") -> None:
        """Parse until the bytes run out, the events are too many, or the connection ends; there is room for one."""
        events, timeouts, delivering = self.events, self.timeouts, self.state in _DELIVERING
        self.wants_data = False
        try:
            item = reader.next(data)
            while True:
                if isinstance(item, ControlFrame):
                    self._receive_control(item, now)
                    if self._reader is None:
                        return
                elif item is not None and delivering:
                    events.append(item)
                    self._held += len(item)
                    self.traffic.messages_in += 1
                    timeouts.last_message = now
                    if self._held >= MAX_QUEUED_BYTES or len(events) >= MAX_QUEUED_MESSAGES:
                        return
                if item is None or not reader.data:
                    break
                item = reader.next()
        except PeerViolation as violation:
            self._fail(violation.code, violation.reason, now)
            return
        if reader.is_inflating:
            return
        self.wants_data = True
        if reader.unfinished != timeouts.timed_message:
            timeouts.time_message(reader.unfinished, now)
        if self.state is State.LOST:
            self._end(now)

    def _receive_control(self, frame: ControlFrame, now: float) -> None:
        if frame.opcode == CLOSE:
            code, reason = parse_close(frame.payload)
            self._finish(Event.PEER_CLOSE, code, reason, "client", now)
        elif self.state is not State.OPEN:
            return
        elif frame.opcode == PING:
            # A peer that does not read gets one answer for all its pings (RFC 6455, 5.5.3).
            if self.out.blocked:
                self._pending_pong = frame.payload
            else:
                self.out.append(encode_frame(PONG, frame.payload))
        else:
            latency = self.timeouts.pong_received(frame.payload, now)
            if latency is not None and self._announces_pongs:
                self.events.append({"type": "websocket.pong", "bytes": frame.payload, "latency": latency})

    def _fail(self, code: int, reason: str, now: float) -> None:
        """Fail the connection (RFC 6455, 7.1.7): say why, and do not wait for an answer."""
        self._finish(Event.FAIL, code, reason, "server", now)

    def _finish(self, event: Event, code: int, reason: str, by: str, now: float) -> None:
        if self.state is State.OPEN:  # else the close frame was sent before
            self.out.append(encode_close(code, reason))
        self.state = next_state(self.state, event)
        self._disconnected(code, reason, by)
        self._entered(now)

    # To the application

    def next_event(self, now: float) -> dict[str, Any] | None:
        """Return the next ASGI event for the application, None while there is none."""
        if not self.events:
            return None
        event = self.events.pop(0)
        if not isinstance(event, dict):
            self._held -= len(event)
            event = {"type": "websocket.receive", "text" if isinstance(event, str) else "bytes": event}
        reader = self._reader
        if not self.wants_data and reader is not None and not reader.is_inflating and self._has_room:
            self._read(reader, now)
        return event

    def _disconnected(self, code: int, reason: str, by: str) -> None:
        if self.closed_with is None:
            self.closed_by = by
            self.closed_with = (int(code), reason)
            self.events.append({"type": "websocket.disconnect", "code": int(code), "reason": reason})

    # From the application

    def send(self, event: dict[str, Any], now: float) -> None:
        """Take an ASGI event of the application. After the end it is ignored.

        Raises:
            ProtocolStateError: for an event that is not legal now.
            ValueError, TypeError: for an event with impossible values.
        """
        kind = event["type"]
        if kind == "websocket.send":
            if self.state is not State.OPEN:
                next_state(self.state, Event.SEND)
                return
            text, data = event.get("text"), event.get("bytes")
            if (text is None) == (data is None):
                raise ValueError("websocket.send: exactly one of 'text' and 'bytes' is given")
            opcode, payload = (BINARY, bytes(data or b"")) if text is None else (TEXT, text.encode())
            encode = encode_frame if self._deflate is None else self._deflate.encode
            self.out.append(encode(opcode, payload))
            self.traffic.messages_out += 1
            return
        handle = _HANDLERS.get(kind)
        if handle is None:
            raise ValueError(f"{kind!r} is no event that an application sends to a WebSocket")
        if next_state(self.state, Event(kind)) is self.state and self.state not in (State.OPEN, State.DENYING):
            return
        handle(self, event, now)

    def send_shared(self, message: SharedMessage) -> None:
        """Queue a message that goes to many sockets; a no-op unless the connection is open.

        Its frame is encoded once and never compressed, which RFC 7692, 6 leaves to the sender. A peer that does
        not read is closed with 1013 when more than ``max_write_buffer_size`` is pending.
        """
        if self.state is not State.OPEN:
            return
        frame = message.frame
        if frame is None:
            text, data = message.text, message.data or b""
            frame = encode_frame(BINARY, data) if text is None else encode_frame(TEXT, text.encode("utf-8", "replace"))
            message.frame = frame
        self.out.append(frame)
        self.traffic.messages_out += 1

    def overflow(self, now: float) -> None:
        """Close a peer that reads too slowly for what is sent to it with 1013; what is pending is dropped."""
        self.out.drop_unsent()
        self._fail(CloseCode.TRY_AGAIN_LATER, "reading too slowly", now)

    def _accept(self, event: dict[str, Any], now: float) -> None:
        assert self._response is not None
        answer, self.limits, self._deflate = self._response.upgrade(event, self.defaults)
        self.state = next_state(self.state, Event.ACCEPT)
        self.out.append(answer)
        self._announces_pongs = event.get("policy") is not None
        self._response = None
        self.timeouts.opened(self.limits, now)
        self._reader = MessageReader(self.limits, self._deflate)
        early, self._early = bytes(self._early), bytearray()
        self._read(self._reader, now, early)

    def _ping(self, event: dict[str, Any], now: float) -> None:
        payload = bytes(event.get("bytes") or b"")
        if len(payload) > MAX_CONTROL_PAYLOAD:
            raise ValueError(f"websocket.ping: at most {MAX_CONTROL_PAYLOAD} bytes (RFC 6455, 5.5)")
        self._announces_pongs = True
        self.timeouts.ping_sent(payload, now)
        self.out.append(encode_frame(PING, payload))

    def _close(self, event: dict[str, Any], now: float) -> None:
        if self.state is State.CONNECTING:
            self._refuse(Event.CLOSE, 403, event.get("reason") or "The application refused the connection.", now)
            return
        given = event.get("code")
        code = int(CloseCode.NORMAL if given is None else given)
        if not is_sendable(code):
            raise ValueError(f"websocket.close: {code} may not stand in a close frame (RFC 6455, 7.4)")
        # An application that has closed is not given the messages that it had not taken yet.
        self._drop_events()
        self._finish(Event.CLOSE, code, truncate_reason(event.get("reason") or ""), "server", now)

    def _start_response(self, event: dict[str, Any], now: float) -> None:
        assert self._response is not None
        self._response.start(event)
        self.state = next_state(self.state, Event.RESPONSE_START)
        self.wants_data = True
        self.timeouts.set(Deadline.ANSWER, now, None)

    def _send_response_body(self, event: dict[str, Any], now: float) -> None:
        assert self._response is not None
        self.out.append(self._response.body(event))
        if not event.get("more_body"):
            assert self._response.status is not None
            self.refusal = (self._response.status, BY_APPLICATION)
            self.state = next_state(self.state, Event.RESPONSE_END)
            self._disconnected(CloseCode.ABNORMAL, "", "server")
            self._entered(now)

    # From the server

    def application_failed(self, now: float) -> None:
        """End the connection with 1011, or with 500 before the accept."""
        self._application_ended(CloseCode.INTERNAL_ERROR, "The application failed.", now)

    def application_returned(self, now: float) -> None:
        """End the connection with 1000, or with 500 before the accept."""
        self._application_ended(CloseCode.NORMAL, "The application did not answer the handshake.", now)

    def _application_ended(self, code: int, detail: str, now: float) -> None:
        if self._response is None:
            self.shut(code, "", now)
        elif self._response.has_begun:  # half a response has been sent, there is no repairing it
            self._end(now)
        else:
            self._refuse(Event.REFUSE, 500, detail, now)
        self._drop_events()

    def shut(self, code: int, reason: str, now: float) -> None:
        """Close the connection for a reason of the server: a restart, an idle peer. A handshake gets 503."""
        if self.state in _DELIVERING:
            self._finish(Event.SHUT, code, reason, "server", now)
        elif self.state is State.CONNECTING:
            self._refuse(Event.REFUSE, 503, "The server is shutting down or busy.", now)

    def expire(self, now: float) -> None:
        """Do what is due. Call it at ``timeouts.next``; calling it earlier does no harm."""
        state = self.state
        for deadline in self.timeouts.take_due(now, is_reading=self.wants_data):
            if self.state is state:
                self._expire(deadline, now)

    def _expire(self, deadline: Deadline, now: float) -> None:
        match deadline:
            case Deadline.ANSWER:
                self._refuse(Event.REFUSE, 503, "The application took too long to answer the handshake.", now)
            case Deadline.LIFETIME:
                self.shut(CloseCode.GOING_AWAY, "the connection has lasted as long as the server allows", now)
            case Deadline.PING:
                if (payload := self.timeouts.next_ping(now)) is not None:
                    self.out.append(encode_frame(PING, payload))
            case Deadline.PONG:
                self._fail(CloseCode.INTERNAL_ERROR, "no answer to a ping", now)
            case Deadline.IDLE:
                if self.timeouts.is_idle(now):
                    self.shut(CloseCode.TIMEOUT, "no message for too long", now)
            case Deadline.MESSAGE:
                self._fail(CloseCode.POLICY_VIOLATION, "the message took too long", now)
            case Deadline.CLOSE | Deadline.LINGER:
                self._end(now)

    # The ends

    def unblocked(self) -> None:
        """Let the transport be written to again; a pong that was kept back is sent."""
        self.out.blocked = False
        if self._pending_pong is not None:
            payload, self._pending_pong = self._pending_pong, None
            if self.state is State.OPEN:
                self.out.append(encode_frame(PONG, payload))

    def _refuse(self, event: Event, status: int, detail: str, now: float) -> None:
        assert self._response is not None
        self.state = next_state(self.state, event)
        self.refusal = (status, detail)
        self.out.append(self._response.problem(status, detail))
        self._disconnected(CloseCode.ABNORMAL, "", "server")
        self._entered(now)

    def _entered(self, now: float) -> None:
        """Do what the state that has begun needs."""
        if self.state is State.CLOSED:
            self._end(now)
        elif self.state is State.CLOSING:
            self.timeouts.closing(now)
            if self._reader is not None:
                self._read(self._reader, now)  # the peer's close frame may lie behind too many events
        else:
            self._stop_reading()
            self.timeouts.lingering(now)

    def _stop_reading(self) -> None:
        self._reader = None
        self._deflate = None
        self._response = None
        self._early = bytearray()
        self.wants_data = True

    def _drop_events(self) -> None:
        self.events.clear()
        self._held = 0


_HANDLERS = {
    Event.ACCEPT: Connection._accept,
    Event.PING: Connection._ping,
    Event.CLOSE: Connection._close,
    Event.RESPONSE_START: Connection._start_response,
    Event.RESPONSE_BODY: Connection._send_response_body,
}
