from __future__ import annotations

import asyncio
import gc
import urllib.request
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.test import RequestFactory
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from realtime.engine.monitoring.counters import Histogram
from realtime.engine.monitoring.metrics import metrics, watch_lag
from realtime.engine.server.uvloop import ReactorLoop
from realtime.engine.testing import ServerProcess

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def own_server(database: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server whose counters nobody else moves."""
    copy = tmp_path / "db.sqlite3"
    copy.write_bytes(database.read_bytes())
    with ServerProcess(database=copy) as process:
        yield process


async def scrape(server: ServerProcess) -> Samples:
    return await asyncio.to_thread(_scrape, server)


def _scrape(server: ServerProcess) -> Samples:
    with urllib.request.urlopen(server.http("/metrics"), timeout=10) as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        families = text_string_to_metric_families(response.read().decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


async def scrape_until(server: ServerProcess, name: str, wanted: float, **labels: str) -> Samples:
    """Scrape until a sample has the value; a server learns of an end of a connection when it is scheduled."""
    async with asyncio.timeout(10):
        while (samples := await scrape(server)).get((name, frozenset(labels.items()))) != wanted:
            pass
    return samples


async def test_connections_messages_bytes_and_closes_are_counted_by_endpoint(own_server: ServerProcess) -> None:
    async with connect(own_server.ws("/ws")) as client:
        for message in ("one", "two", b"three"):
            await client.send(message)
            await client.recv()
        samples = await scrape(own_server)
        assert value(samples, "websocket_connections", endpoint="ws") == 1
        assert value(samples, "websocket_handshakes_total", endpoint="ws", outcome="accepted") == 1
        assert value(samples, "websocket_messages_total", endpoint="ws", direction="in") == 3
        assert value(samples, "websocket_messages_total", endpoint="ws", direction="out") == 3
        # A masked frame has a head of six bytes.
        assert value(samples, "websocket_bytes_total", endpoint="ws", direction="in") == 3 * 6 + 3 + 3 + 5
        assert value(samples, "websocket_handler_seconds_count", endpoint="ws") == 1  # every sixteenth is timed
        await client.close(4711, "bye")
    samples = await scrape_until(own_server, "websocket_closes_total", 1, endpoint="ws", code="4xxx", by="client")
    assert value(samples, "websocket_connections", endpoint="ws") == 0


async def test_every_receiver_of_a_broadcast_counts(own_server: ServerProcess) -> None:
    async with (
        connect(own_server.ws("/ws/chat")) as sender,
        connect(own_server.ws("/ws/chat")) as first,
        connect(own_server.ws("/ws/chat")) as second,
    ):
        await sender.send("hello")
        assert await first.recv() == await second.recv()
        samples = await scrape(own_server)
    assert value(samples, "websocket_messages_total", endpoint="ws/chat", direction="in") == 1
    assert value(samples, "websocket_messages_total", endpoint="ws/chat", direction="out") == 2
    assert value(samples, "websocket_broadcast_seconds_count") == 1
    assert value(samples, "channel_layer_delivered_total", layer="default") == 2
    assert value(samples, "channel_layer_dropped_total", layer="default") == 0


@pytest.mark.parametrize(
    ("path", "endpoint", "status"),
    [("/ws/connect?user_id=x", "ws/connect", 400), ("/ws/auth", "ws/auth", 401), ("/ws/nowhere-7", "none", 404)],
)
async def test_refused_handshakes_are_counted_by_status(server: ServerProcess, path, endpoint, status) -> None:
    before = (await scrape(server)).get(
        ("websocket_handshakes_total", frozenset({("endpoint", endpoint), ("outcome", str(status))})), 0
    )
    with pytest.raises(InvalidStatus) as refused:
        await connect(server.ws(path))
    assert refused.value.response.status_code == status
    after = await scrape(server)
    assert value(after, "websocket_handshakes_total", endpoint=endpoint, outcome=str(status)) == before + 1


async def test_no_path_of_a_client_becomes_a_label(own_server: ServerProcess) -> None:
    async with connect(own_server.ws("/ws/rooms/a-room-of-my-own")), connect(own_server.ws("/ws/rooms/another")):
        samples = await scrape(own_server)
    endpoints = {dict(labels).get("endpoint") for _, labels in samples} - {None}
    assert endpoints == {"ws/rooms/<slug:room>", "none"}


async def test_the_process_and_its_event_loop_are_measured(own_server: ServerProcess) -> None:
    samples = await scrape(own_server)
    assert value(samples, "process_open_fds") > 0
    assert value(samples, "websocket_draining") == 0
    assert value(samples, "websocket_send_queue_bytes") == 0
    await scrape_until(own_server, "event_loop_lag_seconds_count", 2)


async def test_a_loop_that_is_held_up_is_noticed() -> None:
    class Clock:
        """The part of an event loop that is asked, with a time of its own."""

        now = 100.0

        def time(self) -> float:
            return self.now

        def call_at(self, when, callback, *arguments) -> None:
            self.when, self.callback = when, lambda: callback(*arguments)

    clock, histogram = Clock(), Histogram((0.1, 1.0))
    watch_lag(clock, histogram)  # type: ignore[arg-type]
    clock.now = clock.when + 0.5
    clock.callback()
    assert (histogram.counts, histogram.total) == ([0, 1, 0], 0.5)


@pytest.mark.parametrize("new_loop", [asyncio.SelectorEventLoop, ReactorLoop])
def test_a_loop_that_was_measured_and_closed_is_freed(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scrape_here() -> weakref.ref[asyncio.AbstractEventLoop]:
        for _ in range(2):
            response = await metrics(RequestFactory().get("/metrics"))
            assert b"event_loop_lag_seconds" in response.content
        return weakref.ref(asyncio.get_running_loop())

    loop = new_loop()
    freed = loop.run_until_complete(scrape_here())
    loop.close()
    del loop
    gc.collect()
    assert freed() is None


async def test_openmetrics_is_the_answer_to_a_client_that_asks_for_it(server: ServerProcess) -> None:
    def ask() -> tuple[str, str]:
        request = urllib.request.Request(server.http("/metrics"), headers={"Accept": "application/openmetrics-text"})
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.headers["Content-Type"], response.read().decode()

    kind, body = await asyncio.to_thread(ask)
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")
