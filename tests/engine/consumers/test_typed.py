"""Typed messages on a scripted connection: what is answered, and with what."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Generic, Literal, TypeVar

import msgspec
import pytest
from channels.exceptions import StopConsumer
from channels.layers import get_channel_layer
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.engine.consumers.consumer import PolicyConsumer
from realtime.engine.consumers.handlers import on_message
from realtime.engine.protocol.errors import InvalidMessage, MessageRefused
from realtime.engine.protocol.policy import SocketPolicy
from realtime.engine.testing import connect as connect_typed

DEEP = 100_000

T = TypeVar("T")


class Vote(msgspec.Struct):
    choice: str
    weight: int = 1
    tags: list[str] = []


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    choice: str


class StrictTagged(msgspec.Struct, tag="strict", forbid_unknown_fields=True):
    choice: str


class WithRef(msgspec.Struct):
    """Has a field that is called as the reference is."""

    ref: str | None = None


class Close(msgspec.Struct, tag=True):
    pass


class Page(msgspec.Struct, Generic[T]):
    items: list[T]


class Draw(msgspec.Struct):
    shape: Literal["line", "dot"]


class Wipe(msgspec.Struct):
    pass


class Range(msgspec.Struct):
    """Checks more than types."""

    first: int
    last: int
    names: dict[Literal["a"], int] = {}

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError("first: it is after last.")


class Tally(msgspec.Struct):
    choice: str
    votes: int | msgspec.UnsetType = msgspec.UNSET


class Counted(msgspec.Struct, tag="counted", omit_defaults=True):
    number: int = 0


class PollConsumer(PolicyConsumer):
    policy = SocketPolicy(subprotocols=("json", "msgpack"))

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    @on_message
    async def vote(self, message: Vote) -> Tally:
        self.seen.append(message)
        return Tally(message.choice, message.weight)

    @on_message
    async def strict(self, message: Strict | StrictTagged) -> Tally:
        self.seen.append(message)
        return Tally(message.choice)

    @on_message
    async def with_ref(self, message: WithRef) -> WithRef:
        self.seen.append(message)
        return WithRef("its own")

    @on_message
    async def close_poll(self, message: Close) -> None:
        self.seen.append(message)

    @on_message
    async def page(self, message: Page[int]) -> Counted | None:
        self.seen.append(message)
        return Counted(sum(message.items)) if message.items else None

    @on_message
    async def range(self, message: Range) -> None:
        self.seen.append(message)

    @on_message
    async def draw(self, message: Draw | Wipe) -> Counted:
        self.seen.append(message)
        return Counted()


class Session:
    """A scripted connection to a consumer, with the consumer at hand."""

    def __init__(self, connect: Any, consumer: type[PolicyConsumer] = PollConsumer, **scope: Any) -> None:
        self.consumer = consumer()
        self.connection = connect(self.consumer, **scope)
        self._read = 1  # the accept

    async def ask(self, *payloads: str | bytes) -> list[Any]:
        """Send messages, and return what is answered before the answer to one more that is valid."""
        for payload in payloads:
            self.connection.give("websocket.receive", **{"text" if isinstance(payload, str) else "bytes": payload})
        self.connection.give("websocket.receive", text='{"type":"Vote","choice":"end","ref":"end"}')
        answers: list[Any] = []
        while True:
            events = await self.connection.until(self._read + 1)
            event = events[self._read]
            self._read += 1
            if event["type"] != "websocket.send":
                answers.append(event)
                return answers
            answer = json.loads(event["text"])
            if answer.get("ref") == "end":
                return answers
            answers.append(answer)


@pytest.fixture
async def session(connect):
    sessions = []

    def start(*args: Any, **kwargs: Any) -> Session:
        sessions.append(Session(connect, *args, **kwargs))
        return sessions[-1]

    yield start
    for each in sessions:
        if not each.connection.task.done():
            await each.connection.end()


#: A message, the struct that its handler gets, and the answer.
ANSWERED: list[tuple[str, Any, Any]] = [
    ('{"type":"Vote","choice":"a"}', Vote("a"), {"type": "Tally", "choice": "a", "votes": 1}),
    ('{"type":"Vote","ref":"r1","choice":"a"}', Vote("a"), {"type": "Tally", "ref": "r1", "choice": "a", "votes": 1}),
    ('{"choice":"a","type":"Vote","weight":3}', Vote("a", 3), {"type": "Tally", "choice": "a", "votes": 3}),
    ('{"type":"Vote","choice":"a","new":{"x":[1]}}', Vote("a"), {"type": "Tally", "choice": "a", "votes": 1}),
    ('{"type":"Vote","choice":"a","ref":null}', Vote("a"), {"type": "Tally", "choice": "a", "votes": 1}),
    (
        '{"type":"Vote","\\u0072ef":"r","choice":"a"}',
        Vote("a"),
        {"type": "Tally", "ref": "r", "choice": "a", "votes": 1},
    ),
    ('{"type":"Vote","choice":"\\ud83d\\ude00"}', Vote("😀"), {"type": "Tally", "choice": "😀", "votes": 1}),
    ('{"type":"Vote","choice":"a","choice":"b"}', Vote("b"), {"type": "Tally", "choice": "b", "votes": 1}),
    ('{"type":"Strict","choice":"a"}', Strict("a"), {"type": "Tally", "choice": "a"}),
    ('{"type":"Strict","choice":"a","ref":"r"}', Strict("a"), {"type": "Tally", "ref": "r", "choice": "a"}),
    ('{"type":"strict","choice":"a"}', StrictTagged("a"), {"type": "Tally", "choice": "a"}),
    ('{"type":"strict","choice":"a","ref":"r"}', StrictTagged("a"), {"type": "Tally", "ref": "r", "choice": "a"}),
    ('{"type":"WithRef"}', WithRef(), {"type": "WithRef", "ref": "its own"}),
    ('{"type":"WithRef","ref":"r"}', WithRef("r"), {"type": "WithRef", "ref": "r"}),
    ('{"type":"Close","ref":"r"}', Close(), {"type": "Ack", "ref": "r"}),
    ('{"type":"Close","ref":""}', Close(), {"type": "Ack", "ref": ""}),
    ('{"type":"Close","ref":"\\"\\u2028é"}', Close(), {"type": "Ack", "ref": '"\u2028é'}),
    ('{"type":"Close"}', Close(), None),
    ('{"type":"Page","items":[1,2]}', Page([1, 2]), {"type": "counted", "number": 3}),
    ('{"type":"Page","items":[1,2],"ref":"r"}', Page([1, 2]), {"type": "counted", "ref": "r", "number": 3}),
    ('{"type":"Page","items":[],"ref":"r"}', Page([]), {"type": "Ack", "ref": "r"}),
    ('{"type":"Draw","shape":"dot","ref":"r"}', Draw("dot"), {"type": "counted", "ref": "r"}),
    ('{"type":"Wipe"}', Wipe(), {"type": "counted"}),
]


@pytest.mark.parametrize(("text", "message", "answer"), ANSWERED)
async def test_a_message_reaches_its_handler_and_is_answered_once(session, text, message, answer) -> None:
    poll = session()
    assert await poll.ask(text) == ([] if answer is None else [answer])
    assert poll.consumer.seen[:-1] == [message]
    assert type(poll.consumer.seen[0]) is type(message)


#: id, text, a part of the detail, the ref that is answered.
INVALID: list[tuple[str, str, str, str | None]] = [
    ("empty", "", "not valid json", None),
    ("white space", "  ", "not valid json", None),
    ("no JSON", "hello", "not valid json", None),
    ("cut off", '{"type":"Vote","ref":"r1","cho', "not valid json", "r1"),
    ("cut off before its end", '{"type":"Vote","ref":"r1"', "not valid json", "r1"),
    ("a missing value", '{"type":"Vote","ref":"r1","choice":}', "not valid json", "r1"),
    ("single quotes", "{'type':'Vote'}", "not valid json", None),
    ("more than one", '{"type":"Close"} {"type":"Close"}', "trailing", None),
    ("an array", '[{"type":"Close"}]', "json object", None),
    ("a string", '"Vote"', "json object", None),
    ("a number", "1", "json object", None),
    ("null", "null", "json object", None),
    ("no type", '{"ref":"r1","choice":"a"}', "type: this field is required", "r1"),
    ("an empty object", "{}", "type: this field is required", None),
    ("an unknown type", '{"type":"Shout","ref":"r1"}', "one of Close, Draw, Page", "r1"),
    ("a type in another case", '{"type":"vote","ref":"r1","choice":"a"}', "type: invalid value 'vote'", "r1"),
    ("a type that is a number", '{"type":5,"ref":"r1"}', "type: expected `str`, got `int`", "r1"),
    ("a type that is null", '{"type":null,"ref":"r1"}', "type: expected `str`, got `null`", "r1"),
    ("two types", '{"type":"Close","type":"Shout","ref":"r1"}', "type: invalid value 'Shout'", "r1"),
    ("two types of which one is stated", '{"type":"Vote","type":"Close","ref":"r1"}', "type: invalid value", "r1"),
    ("a missing field", '{"type":"Vote","ref":"r1"}', "choice: this field is required", "r1"),
    ("a wrong type", '{"type":"Vote","ref":"r1","choice":7}', "choice: expected `str`, got `int`", "r1"),
    ("a wrong type inside", '{"type":"Vote","ref":"r1","choice":"a","tags":["a",7]}', "tags[1]: expected `str`", "r1"),
    ("a wrong value", '{"type":"Draw","ref":"r1","shape":"box"}', "shape: invalid enum value 'box'", "r1"),
    ("an unknown field", '{"type":"Strict","ref":"r1","choice":"a","x":1}', "x: there is no such field", "r1"),
    ("an unknown field of a tagged one", '{"type":"strict","ref":"r1","choice":"a","x":1}', "x: there is no", "r1"),
    ("what the struct checks", '{"type":"Range","ref":"r1","first":2,"last":1}', "first: it is after last.", "r1"),
    ("a wrong key", '{"type":"Range","ref":"r1","first":1,"last":2,"names":{"b":1}}', "at `key` in `$.names`.", "r1"),
    ("a ref of a million digits", '{"type":"Close","ref":' + "9" * 1_000_000 + "}", "ref: ", None),
    ("a wrong item of a generic", '{"type":"Page","ref":"r1","items":["a"]}', "items[0]: expected `int`", "r1"),
    ("a ref that is a number", '{"type":"Close","ref":5}', "ref: expected `str | null`, got `int`", None),
    ("a ref that is an object", '{"type":"Close","ref":{"a":1}}', "ref: expected `str | null`, got `object`", None),
    ("a ref that is too long", '{"type":"Close","ref":"' + "r" * 129 + '"}', "ref: expected `str` of length", None),
    ("a huge ref", '{"type":"Close","ref":"' + "r" * 1_000_000 + '"}', "ref: expected `str` of length", None),
    ("deep arrays", "[" * DEEP, "json object", None),
    ("deep objects", '{"x":' * DEEP, "nested too deeply", None),
    ("deep in an unknown field", '{"type":"Close","ref":"r1","x":' + "[" * DEEP + "]" * DEEP + "}", "deeply", "r1"),
    (
        "deep in a field",
        '{"type":"Vote","ref":"r1","choice":' + "[" * DEEP + "]" * DEEP + "}",
        "choice: expected",
        "r1",
    ),
    ("deep before its type", '{"x":' + "[" * DEEP + "]" * DEEP + ',"type":"Close","ref":"r1"}', "deeply", None),
    ("a million digits", '{"type":"Vote","ref":"r1","choice":"a","weight":' + "9" * 1_000_000 + "}", "weight: ", "r1"),
    ("an exponent", '{"type":"Vote","ref":"r1","choice":"a","weight":1e400}', "weight: ", "r1"),
    ("not a number", '{"type":"Vote","ref":"r1","choice":"a","weight":NaN}', "not valid json", "r1"),
    ("half a pair", '{"type":"Vote","ref":"r1","choice":"\\ud800"}', "half a surrogate pair", "r1"),
    ("half a pair in a text", '{"type":"Vote","ref":"r1","choice":"\\udc00 and more"}', "half a surrogate pair", "r1"),
    ("half a pair that is no escape", '{"type":"Vote","ref":"r1","choice":"\ud800"}', "not valid utf-8", "r1"),
    ("half a pair as a ref", '{"type":"Vote","ref":"\\ud800","choice":"a"}', "half a surrogate pair", None),
    ("a control character", '{"type":"Vote","ref":"r1","choice":"\x00"}', "not valid json", "r1"),
    ("a huge type", '{"type":"' + "x" * 100_000 + '","ref":"r1"}', "type: invalid value", "r1"),
    ("a byte order mark", '\ufeff{"type":"Close"}', "not valid json", None),
]


@pytest.mark.parametrize(("text", "detail", "ref"), [row[1:] for row in INVALID], ids=[row[0] for row in INVALID])
async def test_anything_else_is_answered_with_an_error_and_the_socket_lives_on(session, text, detail, ref) -> None:
    poll = session()
    [error] = await poll.ask(text)
    assert (error["type"], error["code"]) == ("Error", "invalid_message")
    assert detail.lower() in error["detail"].lower()
    assert error.get("ref") == ref
    assert len(error["detail"]) < 600
    assert "recursion" not in error["detail"]
    assert len(poll.consumer.seen) == 1


async def test_many_messages_are_answered_in_their_order(session) -> None:
    texts = [row[0] for row in ANSWERED] + [row[1] for row in INVALID if len(row[1]) < 1000]
    expected = [row[2] for row in ANSWERED if row[2] is not None]
    answers = await session().ask(*texts)
    assert answers[: len(expected)] == expected
    assert {answer["type"] for answer in answers[len(expected) :]} == {"Error"}


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3),
)
_MESSAGES = st.dictionaries(
    st.sampled_from(["type", "ref", "choice", "weight", "tags", "items", "shape", "x"]), _VALUES, max_size=5
) | st.fixed_dictionaries(
    {"type": st.sampled_from(["Vote", "Strict", "strict", "WithRef", "Close", "Page", "Draw"])},
    optional={
        "ref": _VALUES,
        "choice": _VALUES,
        "weight": _VALUES,
        "tags": _VALUES,
        "items": _VALUES,
        "shape": _VALUES,
    },
)


def _payloads(form: str) -> st.SearchStrategy[Any]:
    encoded = _MESSAGES.map(json.dumps if form == "json" else msgspec.msgpack.encode)
    noise = st.text() if form == "json" else st.binary()
    cut = st.builds(lambda whole, at, more: whole[:at] + more, encoded, st.integers(0, 60), noise)
    return encoded | noise | cut


@pytest.mark.parametrize("form", ["json", "msgpack"])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_bytes_end_a_connection(form, data) -> None:
    """Whatever a client sends is handled or explained, and the next message is handled."""
    payloads = data.draw(st.lists(_payloads(form), max_size=10))

    async def send_all() -> None:
        async with connect_typed(PollConsumer, subprotocols=[form]) as socket:
            for payload in payloads:
                await socket.send(payload)
            assert await socket.request(Vote("end")) == Tally("end", 1)

    asyncio.run(send_all())


# msgpack


def _packed(connect: Any, *names: bytes, consumer: type[PolicyConsumer] = PollConsumer) -> Any:
    headers = [(b"host", b"testserver"), *((b"sec-websocket-protocol", name) for name in names)]
    return connect(consumer(), headers=headers)


async def test_msgpack_is_spoken_both_ways_where_it_was_negotiated(connect) -> None:
    connection = _packed(connect, b"msgpack")
    connection.give("websocket.receive", bytes=msgspec.msgpack.encode({"type": "Vote", "ref": "r", "choice": "a"}))
    connection.give("websocket.receive", bytes=msgspec.msgpack.encode({"type": "Close", "ref": "r"}))
    connection.give("websocket.receive", bytes=msgspec.msgpack.encode({"type": "Vote", "ref": "r", "choice": 5}))
    connection.give("websocket.receive", bytes=b"\xc1")
    accept, *answers = await connection.until(5)
    assert accept["subprotocol"] == "msgpack"
    tally, ack, wrong, error = [msgspec.msgpack.decode(answer["bytes"]) for answer in answers]
    assert tally == {"type": "Tally", "ref": "r", "choice": "a", "votes": 1}
    assert ack == {"type": "Ack", "ref": "r"}
    assert (wrong["code"], wrong["ref"]) == ("invalid_message", "r")
    assert wrong["detail"] == "choice: Expected `str`, got `int`."
    assert error["code"] == "invalid_message"
    await connection.end()


@pytest.mark.parametrize(("names", "selected"), [([], None), ([b"json"], "json"), ([b"json", b"msgpack"], "json")])
async def test_binary_where_json_is_spoken_is_closed_with_1003(connect, names, selected) -> None:
    connection = _packed(connect, *names)
    connection.give("websocket.receive", bytes=b"\x80")
    accept, close = await connection.until(2)
    assert accept["subprotocol"] == selected
    assert (close["type"], close["code"]) == ("websocket.close", 1003)
    await connection.end()


async def test_text_where_msgpack_is_spoken_is_closed_with_1003(connect) -> None:
    connection = _packed(connect, b"msgpack")
    connection.give("websocket.receive", text='{"type":"Close"}')
    assert (await connection.until(2))[1]["code"] == 1003
    await connection.end()


# What a handler raises


class Failing(PolicyConsumer):
    @on_message
    async def vote(self, message: Vote) -> Tally:
        if message.choice == "refuse":
            raise MessageRefused("poll_closed", "The poll is closed.")
        if message.choice == "invalid":
            raise InvalidMessage("choice: there is no such choice.")
        if message.choice == "stop":
            raise StopConsumer
        if message.choice == "dict":
            return {"votes": 1}
        if message.choice == "end":
            return Tally("end")
        raise KeyError(message.choice)


async def test_a_refusal_of_the_handler_is_an_error_with_its_code(session) -> None:
    poll = session(Failing)
    answers = await poll.ask(
        '{"type":"Vote","ref":"1","choice":"refuse"}', '{"type":"Vote","ref":"2","choice":"invalid"}'
    )
    assert answers == [
        {"type": "Error", "code": "poll_closed", "detail": "The poll is closed.", "ref": "1"},
        {"type": "Error", "code": "invalid_message", "detail": "choice: there is no such choice.", "ref": "2"},
    ]


@pytest.mark.parametrize(("choice", "error"), [("boom", KeyError), ("dict", TypeError)])
async def test_every_other_exception_closes_with_1011_as_for_every_consumer(connect, choice, error) -> None:
    connection = connect(Failing())
    connection.give("websocket.receive", text=json.dumps({"type": "Vote", "ref": "r", "choice": choice}))
    with pytest.raises(error):
        await connection.task
    assert [event.get("code") for event in connection.sent] == [None, 1011]


async def test_stop_consumer_ends_the_application(connect) -> None:
    connection = connect(Failing())
    connection.give("websocket.receive", text='{"type":"Vote","choice":"stop"}')
    await connection.task
    assert [event["type"] for event in connection.sent] == ["websocket.accept"]


# Sending


class News(msgspec.Struct):
    text: str
    data: bytes = b""


class NewsConsumer(PollConsumer):
    groups = ["news"]
    server_messages = News

    @on_message
    async def vote(self, message: Vote) -> Tally | None:
        await self.send_typed(News("to you"))
        await self.broadcast_typed("news", News("to others"))
        await self.broadcast_typed("news", News("to all", b"\x00"), include_self=True)
        return None


STOCK = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
FANOUT = {"default": {"BACKEND": "realtime.engine.layer.FanoutChannelLayer"}}


@pytest.mark.parametrize("layer", [FANOUT, STOCK], ids=["fan-out layer", "stock layer"])
@pytest.mark.parametrize("extensions", [True, False], ids=["with the extension", "without"])
async def test_members_of_a_group_get_a_struct_each_in_the_form_that_it_speaks(
    connect, settings, monkeypatch, layer, extensions
) -> None:
    settings.CHANNEL_LAYERS = layer
    encoded: list[Any] = []
    from realtime.engine.typed.formats import JSON, MSGPACK

    for form in (JSON, MSGPACK):
        plain = form.encode
        monkeypatch.setattr(
            form, "encode", lambda message, ref=None, plain=plain: encoded.append(message) or plain(message, ref)
        )
    scope = {} if extensions else {"extensions": {}}
    headers = [(b"host", b"testserver"), (b"sec-websocket-protocol", b"msgpack")]
    sender = connect(NewsConsumer(), **scope)
    readers = [connect(NewsConsumer(), **scope) for _ in range(3)]
    packed = [connect(NewsConsumer(), headers=headers, **scope) for _ in range(3)]
    for connection in (sender, *readers, *packed):
        await connection.until(1)
    sender.give("websocket.receive", text='{"type":"Vote","choice":"a"}')

    def received(connection: Any) -> list[Any]:
        sent = [event.get("text") or event.get("bytes") for event in connection.sent[1:]]
        shared = [message.text or message.data for message in connection.shared]
        return [
            json.loads(each) if isinstance(each, str) else msgspec.msgpack.decode(each) for each in (*sent, *shared)
        ]

    for connection in (sender, *readers, *packed):
        while len(received(connection)) < 2:
            await connection.news()
    assert received(sender) == [
        {"type": "News", "text": "to you", "data": ""},
        {"type": "News", "text": "to all", "data": "AA=="},
    ]
    for connection in readers:
        assert received(connection)[1] == {"type": "News", "text": "to all", "data": "AA=="}
    for connection in packed:
        assert received(connection)[1] == {"type": "News", "text": "to all", "data": b"\x00"}
    assert [message.text for message in encoded] == ["to you", *["to others"] * 2, *["to all"] * 2]
    for connection in (sender, *readers, *packed):
        await connection.end()


async def test_an_event_for_a_group_can_be_sent_from_anywhere(connect, settings) -> None:
    settings.CHANNEL_LAYERS = FANOUT
    reader = connect(NewsConsumer())
    await reader.until(1)
    await get_channel_layer().group_send("news", NewsConsumer.typed_event(News("from a view")))
    assert [json.loads(message.text)["text"] for message in reader.shared] == ["from a view"]
    await reader.end()


async def test_an_endpoint_that_lists_no_msgpack_encodes_none() -> None:
    class Plain(PolicyConsumer):
        """Speaks JSON alone."""

    assert Plain.typed_event(News("a")) == {"type": "websocket.send", "text": '{"type":"News","text":"a","data":""}'}
