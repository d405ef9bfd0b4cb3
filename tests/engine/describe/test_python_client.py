"""The runtime of the generated client in Python, with a server whose answers a test writes down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from realtime.engine.describe.python_client.connection import TypedSocket
from realtime.engine.describe.python_client.description import (
    ConnectionLost,
    Description,
    HandshakeRefused,
    RequestRefused,
    RequestTimeout,
    State,
)
from realtime.engine.describe.python_client.topics import Position, TopicFields
from realtime.engine.protocol.close import CloseCode


class Message(msgspec.Struct, tag_field="type", kw_only=True):
    ref: str | None = None


class Say(Message, tag="Say", kw_only=True):
    room: str | None = None
    text: str


class Look(Message, tag="Look", kw_only=True):
    room: str | None = None


class Line(msgspec.Struct, tag_field="type", tag="Line"):
    room: str
    seq: int
    text: str


class Said(Message, tag="Said", kw_only=True):
    room: str
    seq: int


class Joined(msgspec.Struct, tag_field="type", tag="Joined"):
    room: str
    epoch: str
    seq: int
    recovered: bool
    messages: list[Line]


class Left(msgspec.Struct, tag_field="type", tag="Left"):
    room: str


class View(msgspec.Struct, tag_field="type", tag="View"):
    room: str
    lines: list[str]


class Error(Message, tag="Error", kw_only=True):
    code: str
    detail: str


class LogSocket(TypedSocket[Joined, Line]):
    description = Description(
        paths=("/ws/log", "/ws/log/{room}"),
        subprotocols=("json",),
        received=(Line, Said, Joined, Left, View, Error),
        replies={Say: (Said,), Look: (View,)},
        unreferenced=(View,),
        topics=TopicFields(key="room", item=Line, seen=(Said,)),
        close_codes={code.value: code.advice.value for code in CloseCode},
    )


class PlainSocket(TypedSocket[Any, Any]):
    description = Description(
        paths=("/ws/log",),
        subprotocols=(),
        received=(Said, Error),
        replies={Say: (Said,)},
        unreferenced=(),
        topics=None,
        close_codes={},
    )


class Script:
    """What the server does with each connection, one after the other, and what it has been sent."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.refusals: list[tuple[int, dict[str, str]]] = []
        self.connections: asyncio.Queue[ServerConnection] = asyncio.Queue()
        self.base = ""

    def process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        if not self.refusals:
            return None
        status, headers = self.refusals.pop(0)
        body = json.dumps({"detail": f"because of {status}"}).encode() if status != 418 else b"teapot"
        return Response(status, "Refused", Headers({**headers, "Content-Length": str(len(body))}), body)

    async def handle(self, connection: ServerConnection) -> None:
        self.connections.put_nowait(connection)
        await connection.wait_closed()

    async def connection(self) -> Peer:
        return Peer(await self.connections.get())


class Peer:
    """The server's side of one connection."""

    def __init__(self, connection: ServerConnection) -> None:
        self.close = connection.close
        self._connection = connection

    async def receive(self) -> dict[str, Any]:
        return json.loads(await self._connection.recv())

    async def send(self, **message: Any) -> None:
        await self._connection.send(json.dumps(message))


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    script = Script()
    async with serve(script.handle, "127.0.0.1", 0, process_request=script.process_request) as server:
        script.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield script


class Events:
    """What listeners were called with, in order."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self.note = self._queue.put_nowait
        self.next: Callable[[], Awaitable[Any]] = self._queue.get

    async def until(self, phase: str) -> State:
        while (state := await self.next()).phase != phase:
            pass
        return state


@pytest.fixture
def states() -> Events:
    return Events()


@pytest.fixture
def open_socket(script: Script, states: Events) -> Callable[..., LogSocket]:
    def make(**options: Any) -> LogSocket:
        return LogSocket(script.base, random=lambda: 0.001, on_state=states.note, **options)

    return make


async def test_a_request_gets_the_answer_with_its_ref(script, open_socket):
    async with open_socket(query={"x": 1}) as socket:
        peer = await script.connection()
        first = asyncio.create_task(socket.request(Say(text="one")))
        second = asyncio.create_task(socket.request(Say(text="two", ref="mine")))
        asked = [await peer.receive(), await peer.receive()]
        assert [each["text"] for each in asked] == ["one", "two"]
        assert asked[1]["ref"] == "mine"
        for each in reversed(asked):
            await peer.send(type="Said", ref=each["ref"], room=each["text"], seq=1)
        assert ((await first).room, (await second).room) == ("one", "two")
    assert script.requests[0].path == "/ws/log?x=1"
    assert socket.state == State("stopped", 1000)


async def test_an_answer_without_a_ref_goes_to_the_request_that_speaks_of_the_same(script, open_socket):
    async with open_socket() as socket:
        peer = await script.connection()
        requests = [asyncio.create_task(socket.request(Look(room=room))) for room in ("a", "b", "b")]
        for _ in requests:
            await peer.receive()
        for room, line in (("b", "first"), ("b", "second"), ("a", "last")):
            await peer.send(type="View", room=room, lines=[line])
        assert [(await request).lines for request in requests] == [["last"], ["first"], ["second"]]


async def test_what_answers_no_request_is_an_event_until_the_listener_goes(script, open_socket):
    events = Events()
    async with open_socket() as socket:
        peer = await script.connection()
        off = socket.on(View, events.note)
        socket.on(Error, events.note)
        await peer.send(type="OfANewerServer")
        await peer.send(type="View", room="a", lines=[])
        assert await events.next() == View("a", [])
        off()
        await peer.send(type="View", room="b", lines=[])
        await peer.send(type="Error", code="x", detail="y")
        assert await events.next() == Error(code="x", detail="y")


async def test_a_request_is_refused_or_takes_too_long(script, open_socket):
    async with open_socket(timeout=0.01) as socket:
        peer = await script.connection()
        with pytest.raises(RequestTimeout):
            await socket.request(Say(text="no answer"))
        await peer.receive()
        request = asyncio.create_task(socket.request(Say(text="no"), timeout=5))
        await peer.send(type="Error", code="full", detail="No room.", ref=(await peer.receive())["ref"])
        with pytest.raises(RequestRefused, match="No room") as refusal:
            await request
        assert refusal.value.code == "full"


async def test_a_message_that_the_client_does_not_understand_ends_its_request_alone(script, open_socket):
    problems: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context["message"]))
    async with open_socket() as socket:
        peer = await script.connection()
        request = asyncio.create_task(socket.request(Say(text="hello")))
        await peer.send(type="Said", ref=(await peer.receive())["ref"], seq="one")
        with pytest.raises(msgspec.ValidationError):
            await request
        await peer.send(type="View", room=7)
        request = asyncio.create_task(socket.request(Say(text="again")))
        await peer.send(type="Said", ref=(await peer.receive())["ref"], room="a", seq=1)
        assert (await request).seq == 1
    assert problems == ["a message 'View' of the server is not as the client knows it"]


async def test_a_request_waits_for_a_connection_and_is_lost_with_it(script, open_socket, states):
    async with open_socket() as socket:
        peer = await script.connection()
        sent = asyncio.create_task(socket.request(Say(text="sent")))
        await peer.receive()
        await peer.close(1012, "restart")
        with pytest.raises(ConnectionLost):
            await sent
        assert await states.until("waiting") == State("waiting", 1012, "restart")
        waiting = asyncio.create_task(socket.request(Say(text="waiting")))
        peer = await script.connection()
        await peer.send(type="Said", ref=(await peer.receive())["ref"], room="a", seq=1)
        assert (await waiting).seq == 1
        await peer.close(3003, "disconnected by staff")
        assert await states.until("stopped") == State("stopped", 3003, "disconnected by staff")
        with pytest.raises(ConnectionLost):
            await socket.request(Say(text="too late"))
        with pytest.raises(ConnectionLost):
            await socket.send(Say(text="too late"))


async def test_a_token_is_renewed_when_the_close_code_says_so(script, open_socket, states):
    renewals: list[bool] = []

    async def token(renew: bool) -> str:
        renewals.append(renew)
        return f"token-{len(renewals)}"

    async with open_socket(token=token):
        await (await script.connection()).close(3000)
        await script.connection()
    assert renewals == [False, True]
    assert [request.headers["Authorization"] for request in script.requests] == ["Bearer token-1", "Bearer token-2"]


async def test_a_ticket_stands_in_the_address(script, open_socket):
    async with open_socket(ticket=lambda renew: "a ticket", params={"room": "b c"}):
        await script.connection()
    assert script.requests[0].path == "/ws/log/b%20c?ticket=a+ticket"


@pytest.mark.parametrize(
    ("refusals", "renewals"),
    [([401], [False, True]), ([503], [False, False]), ([429, 503], [False, False, False])],
)
async def test_a_refusal_that_may_pass_is_tried_again(script, open_socket, refusals, renewals):
    script.refusals = [(status, {"Retry-After": "0"}) for status in refusals]
    asked: list[bool] = []
    async with open_socket(token=lambda renew: asked.append(renew) or "token"):
        await script.connection()
    assert asked == renewals


@pytest.mark.parametrize(
    ("statuses", "detail"), [([403], "because of 403"), ([401, 401], "because of 401"), ([418], "no detail")]
)
async def test_a_refusal_for_good_is_raised(script, open_socket, statuses, detail):
    script.refusals = [(status, {}) for status in statuses]
    with pytest.raises(HandshakeRefused, match=detail) as refusal:
        await open_socket().__aenter__()
    assert refusal.value.status == statuses[-1]
    assert len(script.requests) == len(statuses)


async def test_a_server_that_is_away_is_waited_for(states):
    socket = LogSocket("http://127.0.0.1:1", random=lambda: 0.001, on_state=states.note)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await socket.__aenter__()
    assert (await states.until("waiting")).code is None
    await socket.stop()


async def test_what_a_getter_raises_ends_the_client_and_is_raised(script, open_socket):
    problems: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context["message"]))

    def token(renew: bool) -> str:
        raise KeyError("no token")

    socket = open_socket(token=token)
    with pytest.raises(KeyError, match="no token"):
        await socket.__aenter__()
    assert socket.state.phase == "stopped"
    assert problems == ["the client has stopped"]


async def subscribe(socket: LogSocket, room: str = "lobby") -> Events:
    events = Events()
    await socket.subscribe(
        room,
        lambda line: events.note(("message", line.text)),
        on_joined=lambda joined: events.note(("joined", joined.recovered, [line.text for line in joined.messages])),
        on_left=lambda error: events.note(("left", error and error.code)),
    )
    return events


def joined(seq: int, *lines: tuple[int, str], recovered: bool = False, room: str = "lobby") -> dict[str, Any]:
    messages = [{"type": "Line", "room": room, "seq": number, "text": text} for number, text in lines]
    return {"type": "Joined", "room": room, "epoch": "e", "seq": seq, "recovered": recovered, "messages": messages}


async def test_a_topic_goes_on_after_a_break_where_it_was(script, open_socket):
    async with open_socket() as socket:
        peer = await script.connection()
        events = await subscribe(socket)
        assert await peer.receive() == {"type": "Join", "room": "lobby", "ref": "join:lobby"}
        await peer.send(**joined(1, (1, "one")))
        assert await events.next() == ("joined", False, ["one"])
        for seq, text in ((2, "two"), (2, "two"), (4, "four")):
            await peer.send(type="Line", room="lobby", seq=seq, text=text)
        await peer.send(type="Line", room="elsewhere", seq=3, text="not here")
        assert [await events.next(), await events.next()] == [("message", "two"), ("message", "four")]
        await peer.close(1012)
        peer = await script.connection()
        assert (await peer.receive())["since"] == {"epoch": "e", "seq": 2}
        await peer.send(**joined(5, (3, "three"), (4, "four"), (5, "five"), recovered=True))
        assert await events.next() == ("joined", True, ["three", "five"])


async def test_an_acknowledgement_counts_as_read(script, open_socket):
    async with open_socket() as socket:
        peer = await script.connection()
        events = await subscribe(socket)
        await peer.receive()
        await peer.send(**joined(0))
        await events.next()
        request = asyncio.create_task(socket.request(Say(text="mine")))
        await peer.send(type="Said", ref=(await peer.receive())["ref"], room="lobby", seq=1)
        await request
        await peer.close(1012)
        peer = await script.connection()
        assert (await peer.receive())["since"]["seq"] == 1


async def test_a_topic_is_left_and_entered_again_once_the_server_has_left_it(script, open_socket):
    async with open_socket() as socket:
        peer = await script.connection()
        events = await subscribe(socket)
        await peer.receive()
        await peer.send(**joined(0))
        await events.next()
        await socket.unsubscribe("lobby")
        assert await events.next() == ("left", None)
        assert await peer.receive() == {"type": "Leave", "room": "lobby", "ref": "leave:lobby"}
        again = await subscribe(socket)
        await peer.send(type="Left", room="lobby")
        assert (await peer.receive())["type"] == "Join"
        await peer.send(type="Left", room="lobby")  # by the server's own wish
        assert await again.next() == ("left", None)


@pytest.mark.parametrize("code", ["internal", "rate_limited"])
async def test_an_error_that_passes_leads_to_another_attempt(script, open_socket, code):
    async with open_socket() as socket:
        peer = await script.connection()
        events = await subscribe(socket)
        await peer.receive()
        await peer.send(**joined(0))
        await events.next()
        await peer.send(type="Error", code=code, detail="", ref="join:lobby")
        assert (await peer.receive())["type"] == "Join"
        await socket.unsubscribe("lobby")
        await peer.receive()
        await peer.send(type="Error", code=code, detail="", ref="leave:lobby")
        assert (await peer.receive())["type"] == "Leave"
        await peer.send(type="Error", code="not_joined", detail="", ref="leave:lobby")
        await subscribe(socket)
        assert (await peer.receive())["type"] == "Join"


@pytest.mark.parametrize("code", ["forbidden", "rate_limited"])
async def test_a_new_topic_that_is_refused_is_over(script, open_socket, code):
    problems = Events()
    async with open_socket() as socket:
        socket.on(Error, problems.note)
        peer = await script.connection()
        events = await subscribe(socket)
        await peer.receive()
        await peer.send(type="Error", code=code, detail="No.", ref="join:lobby")
        assert await events.next() == ("left", code)
        assert (await problems.next()).code == code


async def test_an_endpoint_without_topics_has_none(script):
    async with PlainSocket(script.base) as socket:
        with pytest.raises(TypeError, match="no topics"):
            await socket.subscribe("lobby", print)
        await socket.unsubscribe("lobby")
        peer = await script.connection()
        request = asyncio.create_task(socket.request(Say(text="hello")))
        await peer.send(type="Said", ref=(await peer.receive())["ref"], room="", seq=1)
        assert (await request).seq == 1


def test_an_address_has_exactly_the_parameters_of_a_path():
    with pytest.raises(TypeError, match=r"no address has the parameters \['place'\]: /ws/log, /ws/log/\{room\}"):
        LogSocket("https://example.com", params={"place": "x"})
    assert LogSocket("https://example.com/app/", params={"room": "x"}).url == "wss://example.com/ws/log/x"


@pytest.mark.parametrize(
    ("seen", "position"),
    [([1, 2, 3], 3), ([2], 0), ([2, 1], 2), ([1, 3], 1), ([1, 3, 2], 3), ([1, 1, 1], 1), ([3, 2, 1], 3)],
)
def test_the_position_moves_on_only_over_an_unbroken_row(seen, position):
    read = Position("epoch", 0)
    assert [seq for seq in seen if read.see(seq)] == list(dict.fromkeys(seen))
    assert read.seq == position
