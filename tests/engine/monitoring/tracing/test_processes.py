"""Traces that go through Redis: layers that stand for processes, and two real ones with a collector."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from realtime.engine.layer import FanoutChannelLayer
from realtime.engine.testing import RedisProcess, ServerProcess
from realtime.engine.testing.client import open_socket

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@pytest.fixture
async def make_process(redis_server: RedisProcess) -> AsyncIterator[Callable[..., FanoutChannelLayer]]:
    """Make layers that share a Redis, as processes do."""
    async with contextlib.AsyncExitStack() as stack:

        def make(**options: Any) -> FanoutChannelLayer:
            layer = FanoutChannelLayer([redis_server.url], **options)
            stack.push_async_callback(layer.close)
            return layer

        yield make


@pytest.mark.parametrize(
    "options",
    [{}, {"serializer_format": "json"}, {"symmetric_encryption_keys": ["a key"]}],
    ids=["msgpack", "json", "encrypted"],
)
async def test_the_context_goes_beside_the_message_to_every_process(make_process, spans, options):
    here, there = make_process(**options), make_process(**options)
    channel = await there.new_channel()
    await there.group_add("group", channel)
    work = asyncio.create_task(there.receive("work"))
    message = {"type": "some.news", "of": ["a", "list"]}
    with spans.tracer.start_as_current_span("cause") as cause:
        await here.group_send("group", message)
        await here.send(channel, message)
        await here.send("work", message)
    async with asyncio.timeout(10):
        received = [await there.receive(channel), await there.receive(channel), await work]
    assert received == [message] * 3
    producers = {f"{span.context.span_id:016x}" for span in spans.finished if span.name.endswith("some.news")}
    assert {one.trace["traceparent"].split("-")[2] for one in received} == producers
    trace_id = f"{cause.get_span_context().trace_id:032x}"
    assert {one.trace["traceparent"].split("-")[1] for one in received} == {trace_id}


async def test_an_untraced_process_takes_what_a_traced_one_sends(make_process, spans, monkeypatch):
    here, there = make_process(), make_process()
    channel = await there.new_channel()
    subscription = there.attach(channel, wake=lambda: None)
    frames: asyncio.Queue[Any] = asyncio.Queue()
    subscription.direct = frames.put_nowait
    await there.group_add("group", channel)
    with spans.tracer.start_as_current_span("cause"):
        await here.group_send("group", {"type": "websocket.send", "text": "hi"})
    async with asyncio.timeout(10):
        assert (await frames.get()).as_event() == {"type": "websocket.send", "text": "hi"}
    subscription.close()


class Collector:
    """Takes spans by OTLP over HTTP, as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        received: queue.SimpleQueue[bytes] = queue.SimpleQueue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                received.put(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        self._received = received
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def spans(self) -> list[tuple[str, Span]]:
        """Return what has come so far: each span with the service that sent it."""
        found = []
        while not self._received.empty():
            request = ExportTraceServiceRequest.FromString(self._received.get())
            for batch in request.resource_spans:
                service = {item.key: item.value.string_value for item in batch.resource.attributes}["service.name"]
                found += [(service, span) for scope in batch.scope_spans for span in scope.spans]
        return found

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector of the test's own."""
    made = Collector()
    yield made
    made.close()


async def test_one_trace_goes_through_two_servers(
    collector: Collector, redis_server: RedisProcess, database_copy: Path
) -> None:
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.engine.topics.settings",  # a topic sends from one process to another here
        "REDIS_URL": redis_server.url,
        "REALTIME_LOG_FORMAT": "json",
        "REALTIME_ACCESS_LOG": "1",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
    }
    with (
        ServerProcess(database=database_copy, env=environment | {"OTEL_SERVICE_NAME": "here"}) as here,
        ServerProcess(database=database_copy, env=environment | {"OTEL_SERVICE_NAME": "there"}) as there,
    ):
        async with (
            await open_socket(here.ws("/ws/topics"), headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}) as author,
            await open_socket(there.ws("/ws/topics")) as reader,
        ):
            await reader.send_json(["subscribe", {"topic": "traced"}])
            while (await reader.receive_json()) != ["answer", None]:
                pass
            await author.send_json(["publish", {"topic": "traced", "data": "s3cr3t"}])
            assert (await reader.receive_json())["type"] == "Published"
            assert (await author.receive_json())[0] == "answer"
        assert (here.stop(), there.stop()) == (0, 0)  # and what is left is exported
        log = [json.loads(line) for line in here.log.splitlines()]
    spans = collector.spans()
    [handshake] = [span for service, span in spans if (service, span.name) == ("here", "GET /ws/topics")]
    assert (handshake.trace_id.hex(), handshake.parent_span_id.hex()) == (TRACE, PARENT)
    assert {entry.get("trace_id") for entry in log if entry.get("event") == "opened"} == {TRACE}
    [said] = [span for service, span in spans if (service, span.name) == ("here", "websocket.receive /ws/topics")]
    assert [link.span_id for link in said.links] == [handshake.span_id]
    [stored] = [span for _, span in spans if span.name == "store topic messages"]
    assert [link.span_id for link in stored.links] == [said.span_id]
    [published] = [span for service, span in spans if (service, span.name) == ("here", "group_send topic.messages")]
    assert published.parent_span_id == stored.span_id
    [handled] = [span for service, span in spans if (service, span.name) == ("there", "process topic.messages")]
    assert handled.parent_span_id == published.span_id
    assert "s3cr3t" not in str(spans)


async def test_three_lines_of_environment_are_enough(collector: Collector, database_copy: Path) -> None:
    three_lines = {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_SERVICE_NAME": "mysite",
    }
    with ServerProcess(database=database_copy, env=three_lines) as server:
        async with await open_socket(server.ws("/ws")) as client:
            await client.send("hello")
            assert await client.receive() == "hello"
        assert server.stop() == 0
    assert [(service, span.name) for service, span in collector.spans()] == [
        ("mysite", "GET /ws"),
        ("mysite", "websocket.receive /ws"),
    ]
