"""``/metrics``: what this process has counted, in Prometheus' format.

Every process answers for itself; Prometheus asks each one. The counters are the plain integers of
``monitoring.counters`` and the channel layers; nothing is kept here twice. Other packages add figures of their own::

    Gauge("rooms_active", "Rooms with members.", registry=REGISTRY).set_function(lambda: len(active_rooms))
"""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections.abc import Iterable, Iterator

from channels.layers import channel_layers
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from realtime.engine.monitoring.counters import (
    BROADCAST_SECONDS,
    HANDLER_SECONDS,
    LOOP_LAG_SECONDS,
    Histogram,
    all_traffic,
)

__all__ = ["REGISTRY", "LoopLag", "ProcessMetrics", "metrics"]

#: Seconds between two looks at how late the event loop is.
LAG_INTERVAL = 0.5


class ProcessMetrics(Collector):
    """Turns the counters of this process into metrics, when Prometheus asks."""

    def collect(self) -> Iterator[Metric]:
        """Return the metrics. Call it in the event loop's thread, which owns the connections."""
        yield from _traffic()
        yield from _seconds()
        yield from _layer()


def _traffic() -> Iterable[Metric]:
    connections = GaugeMetricFamily("websocket_connections", "Open WebSocket connections.", labels=["endpoint"])
    handshakes = CounterMetricFamily(
        "websocket_handshakes", "Handshakes by outcome: accepted, a status, abandoned.", labels=["endpoint", "outcome"]
    )
    messages = CounterMetricFamily(
        "websocket_messages",
        "Text and binary messages; each receiver of a broadcast counts.",
        labels=["endpoint", "direction"],
    )
    sizes = CounterMetricFamily(
        "websocket_bytes", "Bytes on the sockets since the upgrade.", labels=["endpoint", "direction"]
    )
    closes = CounterMetricFamily(
        "websocket_closes", "Ends of connections by close code and by who closed.", labels=["endpoint", "code", "by"]
    )
    for traffic in all_traffic():
        endpoint = traffic.endpoint
        connections.add_metric([endpoint], traffic.connections)
        messages.add_metric([endpoint, "in"], traffic.messages_in)
        messages.add_metric([endpoint, "out"], traffic.messages_out)
        sizes.add_metric([endpoint, "in"], traffic.bytes_in)
        sizes.add_metric([endpoint, "out"], traffic.bytes_out)
        for outcome, count in traffic.handshakes.items():
            handshakes.add_metric([endpoint, outcome], count)
        for (code, by), count in traffic.closes.items():
            closes.add_metric([endpoint, code, by], count)
    return connections, handshakes, messages, sizes, closes


def _seconds() -> Iterable[Metric]:
    handlers = HistogramMetricFamily(
        "websocket_handler_seconds",
        "Time that consumers took for a client's message; a sample of the messages.",
        labels=["endpoint"],
    )
    for endpoint, histogram in HANDLER_SECONDS.items():
        handlers.add_metric([endpoint], _buckets(histogram), histogram.total)
    yield handlers
    for name, text, histogram in (
        ("websocket_broadcast_seconds", "Time that group_send took in this process.", BROADCAST_SECONDS),
        ("event_loop_lag_seconds", "How late the event loop called back; observed twice a second.", LOOP_LAG_SECONDS),
    ):
        yield HistogramMetricFamily(name, text, buckets=_buckets(histogram), sum_value=histogram.total)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = [*(repr(bound) for bound in histogram.bounds), "+Inf"]
    return [*zip(bounds, (float(count) for count in itertools.accumulate(histogram.counts)), strict=True)]


def _layer() -> Iterable[Metric]:
    for alias in settings.CHANNEL_LAYERS:
        statistics = getattr(channel_layers[alias], "statistics", None)
        if statistics is None:
            continue
        for name, value in statistics.as_dict().items():
            metric = CounterMetricFamily(f"channel_layer_{name}", f"See Statistics.{name}.", labels=["layer"])
            metric.add_metric([alias], value)
            yield metric


class LoopLag:
    """Notices what holds the event loop up: a timer that is called late was waiting for somebody.

    The timer keeps it alive, so that it ends with its loop.

    Args:
        loop: the event loop.
        histogram: where the delays are counted.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, histogram: Histogram = LOOP_LAG_SECONDS) -> None:
        self._loop = loop
        self._histogram = histogram
        self._due = 0.0
        self._arm()

    def _arm(self) -> None:
        self._due = self._loop.time() + LAG_INTERVAL
        self._loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        self._histogram.observe(max(0.0, self._loop.time() - self._due))
        self._arm()


#: The event loops that are watched.
_watched: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()

#: What ``/metrics`` shows. Beside the counters: memory, descriptors and processor time of the process, and its garbage
#: collector. A project registers its own collectors here; they run in the event loop's thread.
REGISTRY = CollectorRegistry(auto_describe=False)
REGISTRY.register(ProcessMetrics())
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)


@require_safe
async def metrics(request: HttpRequest) -> HttpResponse:
    """Answer Prometheus. The first call begins to watch the event loop, which costs nothing where nobody asks."""
    loop = asyncio.get_running_loop()
    if loop not in _watched:
        _watched.add(loop)
        LoopLag(loop)
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(REGISTRY), content_type=content_type, headers={"Cache-Control": "no-store"})
