from __future__ import annotations

import asyncio
import copy
import logging
import pickle
from typing import Any

import pytest
from channels.generic.websocket import AsyncWebsocketConsumer
from django.urls import path
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from realtime.engine.consumers.consumer import PolicyConsumer
from realtime.engine.handshake.router import SocketRouter
from realtime.engine.monitoring import logs
from realtime.engine.monitoring.tracing import trace_handshakes
from realtime.engine.protocol.errors import HandshakeRejected
from realtime.engine.protocol.messages import Message

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = (b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())

#: What a client sends, and no span may hold.
SECRET = "s3cr3t"


class Talkative(PolicyConsumer):
    """Does what a message says."""

    async def receive_message(self, message: Message) -> None:
        if message.is_binary:
            return
        match message.as_str().split():
            case ["join"]:
                await self.join("group")
            case ["broadcast"]:
                await self.broadcast("group", text=SECRET)
            case ["notify"]:
                await self.channel_layer.group_send("group", {"type": "some.news", "text": SECRET, "of": ["a", "list"]})
            case ["fail", what]:
                raise RuntimeError(f"cannot do {what}")
        await self.send(text_data="done")

    async def some_news(self, event: dict[str, Any]) -> None:
        await self.send(text_data=",".join(sorted(event)))


class Refusing(PolicyConsumer):
    async def handshake(self) -> None:
        raise HandshakeRejected(int(self.scope["url_route"]["kwargs"]["status"]), "no")


class FailingBefore(PolicyConsumer):
    async def connect(self) -> None:
        raise RuntimeError("before")


class FailingAfter(PolicyConsumer):
    async def connect(self) -> None:
        await self.accept()
        raise RuntimeError("after")


class Slow(PolicyConsumer):
    is_connecting: asyncio.Event

    async def connect(self) -> None:
        self.is_connecting.set()
        await asyncio.Event().wait()


class Stock(AsyncWebsocketConsumer):
    groups = ("group",)
    got: list[dict[str, Any]] = []

    async def some_news(self, event: dict[str, Any]) -> None:
        self.got.append(event)
        await self.send(text_data="got it")


ROUTES = [
    path("ws/talk", Talkative.as_asgi()),
    path("ws/rooms/<slug:room>", Talkative.as_asgi()),
    path("ws/refuse/<int:status>", Refusing.as_asgi()),
    path("ws/failing-before", FailingBefore.as_asgi()),
    path("ws/failing-after", FailingAfter.as_asgi()),
    path("ws/slow", Slow.as_asgi()),
    path("ws/stock", Stock.as_asgi()),
]


@pytest.fixture
def site(spans, connect):
    """Opens a connection to an endpoint of this file: ``site("/ws/talk")``."""
    application = trace_handshakes(SocketRouter(ROUTES))
    return lambda path, **scope: connect(application, path=path, **scope)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def everything(spans: list[ReadableSpan]) -> str:
    return "".join(span.to_json() for span in spans)


# Handshakes


async def test_scope_of_a_traced_connection_can_be_copied_and_pickled(spans, connect):
    async def copying(scope, receive, send):
        assert pickle.loads(pickle.dumps(scope))["trace"] is None
        await Talkative.as_asgi()(copy.deepcopy(scope), receive, send)

    connection = connect(trace_handshakes(copying), path="/ws/talk", extensions={})
    assert (await connection.until(1))[0]["type"] == "websocket.accept"
    await connection.end()
    assert [span.kind for span in spans.finished] == [SpanKind.SERVER]


async def test_a_handshake_is_a_span_of_the_server(site, spans):
    connection = site(
        "/ws/rooms/lobby",
        scheme="wss",
        query_string=f"ticket={SECRET}".encode(),
        headers=[
            (b"host", b"testserver"),
            (b"user-agent", b"a client"),
            (b"authorization", f"Bearer {SECRET}".encode()),
        ],
        client=("192.0.2.1", 4711),
        server=("192.0.2.2", 443),
    )
    await connection.until(1)
    await connection.end()
    [span] = spans.finished
    assert (span.name, span.kind, span.parent) == ("GET /ws/rooms/<slug:room>", SpanKind.SERVER, None)
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span) == {
        "http.request.method": "GET",
        "http.route": "/ws/rooms/<slug:room>",
        "http.response.status_code": 101,
        "url.path": "/ws/rooms/lobby",
        "url.scheme": "wss",
        "network.protocol.version": "1.1",
        "client.address": "192.0.2.1",
        "client.port": 4711,
        "server.address": "192.0.2.2",
        "server.port": 443,
        "user_agent.original": "a client",
    }
    assert SECRET not in everything(spans.finished)


async def test_the_caller_s_trace_is_continued(site, spans):
    connection = site("/ws/talk", headers=[(b"host", b"testserver"), TRACEPARENT])
    await connection.until(1)
    await connection.end()
    [span] = spans.finished
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT
    assert span.parent.is_remote


async def test_the_span_ends_with_the_handshake_and_not_with_the_connection(site, spans):
    connection = site("/ws/talk")
    connection.give("websocket.receive", text="hi")
    await connection.until(2)
    assert [span.name for span in spans.finished] == ["GET /ws/talk", "websocket.receive /ws/talk"]
    await connection.end()
    assert len(spans.finished) == 2


@pytest.mark.parametrize(
    ("path", "name", "status", "is_error"),
    [
        ("/ws/refuse/403", "GET /ws/refuse/<int:status>", 403, False),
        ("/ws/refuse/429", "GET /ws/refuse/<int:status>", 429, False),
        ("/ws/refuse/503", "GET /ws/refuse/<int:status>", 503, True),
        ("/ws/nowhere", "GET", 404, False),
        ("/ws/failing-before", "GET /ws/failing-before", 500, True),
    ],
)
async def test_a_refusal_has_its_status_and_only_the_server_s_fault_is_an_error(
    site, spans, path, name, status, is_error
):
    await asyncio.wait([site(path).task])
    [span] = spans.finished
    assert span.name == name
    assert attributes(span)["http.response.status_code"] == status
    assert span.status.status_code is (StatusCode.ERROR if is_error else StatusCode.UNSET)
    assert ("error.type" in attributes(span)) == is_error


@pytest.mark.parametrize("path", ["/ws/failing-before", "/ws/failing-after"])
async def test_an_error_while_connecting_is_noted_once(site, spans, path):
    with pytest.raises(RuntimeError):
        await site(path).task
    [span] = spans.finished
    [event] = span.events
    assert (event.name, event.attributes["exception.type"]) == ("exception", "RuntimeError")
    assert span.status.status_code is StatusCode.ERROR


async def test_a_handshake_that_the_client_gives_up_is_abandoned(site, spans):
    Slow.is_connecting = asyncio.Event()
    connection = site("/ws/slow")
    await Slow.is_connecting.wait()
    connection.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connection.task
    [span] = spans.finished
    assert attributes(span)["error.type"] == "abandoned"
    assert "http.response.status_code" not in attributes(span)


# Messages of the client


@pytest.mark.parametrize(
    ("event", "kind", "size"),
    [
        ({"text": SECRET}, "text", len(SECRET)),
        ({"text": "ü" + SECRET}, "text", len(SECRET) + 2),
        ({"text": "\ud83d"}, "text", 3),
        ({"text": ""}, "text", 0),
        ({"bytes": SECRET.encode()}, "binary", len(SECRET)),
    ],
)
async def test_a_message_is_a_trace_of_its_own_linked_to_its_handshake(site, spans, event, kind, size):
    connection = site("/ws/rooms/lobby")
    await connection.until(1)
    connection.give("websocket.receive", **event)
    await connection.end()
    handshake, span = spans.finished
    assert (span.name, span.kind, span.parent) == ("websocket.receive /ws/rooms/<slug:room>", SpanKind.CONSUMER, None)
    assert [link.context.span_id for link in span.links] == [handshake.context.span_id]
    assert span.context.trace_id != handshake.context.trace_id
    assert attributes(span) == {
        "messaging.system": "websocket",
        "messaging.operation.name": "websocket.receive",
        "messaging.operation.type": "process",
        "messaging.destination.template": "/ws/rooms/<slug:room>",
        "messaging.message.body.size": size,
        "network.protocol.name": "websocket",
        "network.io.direction": "receive",
        "asgi.event.type": "websocket.receive",
        "websocket.message.type": kind,
    }
    assert SECRET not in everything(spans.finished)


async def test_an_error_of_a_handler_is_noted_without_credentials(site, spans):
    connection = site("/ws/talk")
    connection.give("websocket.receive", text=f"fail token={SECRET}")
    sent = await connection.until(2)
    assert sent[-1]["code"] == 1011
    span = spans.one("websocket.receive /ws/talk")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "RuntimeError"
    [event] = span.events
    assert event.attributes["exception.message"] == "cannot do token=[removed]"
    assert "receive_message" in event.attributes["exception.stacktrace"]
    assert SECRET not in everything(spans.finished)
    with pytest.raises(RuntimeError):
        await connection.task


async def test_spans_of_the_application_belong_to_the_message(site, spans, monkeypatch):
    async def query(self, message: Message) -> None:
        with spans.tracer.start_as_current_span("query"):
            await self.send(text_data="done")

    monkeypatch.setattr(Talkative, "receive_message", query)
    connection = site("/ws/talk")
    connection.give("websocket.receive", text="hi")
    await connection.until(2)
    await connection.end()
    assert spans.one("query").parent.span_id == spans.one("websocket.receive /ws/talk").context.span_id


async def test_what_is_logged_within_a_span_carries_its_ids(site, spans, monkeypatch):
    lines = []
    record = logging.LogRecord("realtime.test", logging.INFO, "file.py", 1, "said", (), None)
    formatters = [logs.TextFormatter(), logs.KeyValueFormatter(), logs.JsonFormatter()]

    async def log(self, message: Message) -> None:
        lines.extend(formatter.format(record) for formatter in formatters)
        await self.send(text_data="done")

    monkeypatch.setattr(Talkative, "receive_message", log)
    connection = site("/ws/talk")
    connection.give("websocket.receive", text="hi")
    await connection.until(2)
    await connection.end()
    context = spans.one("websocket.receive /ws/talk").context
    assert len(lines) == 3
    for line in lines:
        assert f"{context.trace_id:032x}" in line
        assert f"{context.span_id:016x}" in line
    assert "trace_id" not in formatters[2].format(record)


# The channel layer


async def joined(site, path: str = "/ws/talk"):
    connection = site(path)
    connection.give("websocket.receive", text="join")
    await connection.until(2)
    return connection


async def test_a_broadcast_is_one_span_below_the_message_that_caused_it(site, spans):
    author, readers = await joined(site), [await joined(site) for _ in range(3)]
    author.give("websocket.receive", text="broadcast")
    await author.until(3)
    span = spans.one("group_send websocket.send")
    assert span.kind is SpanKind.PRODUCER
    assert span.parent.span_id == spans.named("websocket.receive /ws/talk")[-1].context.span_id
    assert attributes(span) == {
        "messaging.system": "channels",
        "messaging.operation.name": "group_send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "group",
        "asgi.event.type": "websocket.send",
    }
    # One frame for all, and no span for each.
    assert [[message.text for message in reader.shared] for reader in readers] == [[SECRET]] * 3
    assert readers[0].shared[0] is readers[1].shared[0]
    assert [span for span in spans.finished if span.name.startswith("process")] == []
    assert SECRET not in everything(spans.finished)
    for connection in [author, *readers]:
        await connection.end()


async def test_a_handler_of_the_channel_layer_continues_its_sender_s_trace(site, spans):
    author, reader = await joined(site), await joined(site, "/ws/rooms/lobby")
    author.give("websocket.receive", text="notify")
    sent = await reader.until(3)
    assert sent[-1]["text"] == "of,text,type"  # no key that nobody has sent
    await author.end()
    await reader.end()
    sending = spans.one("group_send some.news")
    handlings = spans.named("process some.news")
    assert [span.parent.span_id for span in handlings] == [sending.context.span_id] * 2
    assert {span.kind for span in handlings} == {SpanKind.CONSUMER}
    assert {span.context.trace_id for span in handlings} == {sending.context.trace_id}
    handshakes = {span.context.span_id for span in spans.finished if span.kind is SpanKind.SERVER}
    assert {link.context.span_id for span in handlings for link in span.links} == handshakes


@pytest.mark.django_db(transaction=True)  # Channels looks after the database connections of its consumers
async def test_a_stock_consumer_gets_what_was_sent(site, spans):
    Stock.got.clear()
    author, stock = await joined(site), site("/ws/stock")
    await stock.until(1)
    author.give("websocket.receive", text="notify")
    await stock.until(2)
    assert Stock.got == [{"type": "some.news", "text": SECRET, "of": ["a", "list"]}]
    assert spans.named("GET /ws/stock") != []
    await author.end()
    await stock.end()


async def test_a_message_outside_of_any_span_starts_no_trace(spans, channel_layer):
    channel = await channel_layer.new_channel()
    await channel_layer.send(channel, {"type": "some.news"})
    message = await channel_layer.receive(channel)
    assert (type(message), spans.finished) == (dict, [])


async def test_a_message_that_is_passed_on_belongs_to_the_span_that_passes_it_on(spans, channel_layer):
    first, second = await channel_layer.new_channel(), await channel_layer.new_channel()
    with spans.tracer.start_as_current_span("first"):
        await channel_layer.send(first, {"type": "some.news", "of": ["a", "list"]})
    message = await channel_layer.receive(first)
    await channel_layer.send(second, message)
    assert type(await channel_layer.receive(second)) is dict
    with spans.tracer.start_as_current_span("second") as span:
        await channel_layer.send(second, message)
    passed_on = await channel_layer.receive(second)
    assert passed_on == message == {"type": "some.news", "of": ["a", "list"]}
    assert f"{span.get_span_context().trace_id:032x}" in passed_on.trace["traceparent"]


async def test_without_tracing_nothing_is_wrapped_and_nothing_carried(connect, channel_layer):
    router = SocketRouter(ROUTES)
    assert trace_handshakes(router) is router
    channel = await channel_layer.new_channel()
    await channel_layer.send(channel, {"type": "some.news"})
    assert type(await channel_layer.receive(channel)) is dict
