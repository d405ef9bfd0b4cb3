"""``/metrics``: what this process has counted, in Prometheus' format.

Every process answers for itself; Prometheus asks each one. The counters are the plain integers of
``monitoring.counters`` and the channel layers; nothing is kept here twice. Other packages add figures of their own::

    Gauge("rooms_active", "Rooms with members.", registry=REGISTRY).set_function(lambda: len(active_rooms))
"""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

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
    Traffic,
    all_traffic,
)

__all__ = ["REGISTRY", "LoopLag", "ProcessMetrics", "metrics"]

#: Seconds between two looks at how late the event loop is.
LAG_INTERVAL = 0.5


#: What is shown of each endpoint's traffic: name, description, further labels, and the values by those labels.
_TRAFFIC: tuple[tuple[str, str, tuple[str, ...], Callable[[Traffic], Mapping[Any, int]]], ...] = (
    (
        "websocket_handshakes",
        "Handshakes by outcome: accepted, a status, abandoned.",
        ("outcome",),
        lambda traffic: {(outcome,): count for outcome, count in traffic.handshakes.items()},
    ),
    (
        "websocket_messages",
        "Text and binary messages; each receiver of a broadcast counts.",
        ("direction",),
        lambda traffic: {("in",): traffic.messages_in, ("out",): traffic.messages_out},
    ),
    (
        "websocket_bytes",
        "Bytes on the sockets since the upgrade.",
        ("direction",),
        lambda traffic: {("in",): traffic.bytes_in, ("out",): traffic.bytes_out},
    ),
    (
        "websocket_closes",
        "Ends of connections by close code and by who closed.",
        ("code", "by"),
        lambda traffic: traffic.closes,
    ),
)


class ProcessMetrics(Collector):
    """Turns the counters of this process into metrics, when Prometheus asks."""

    def collect(self) -> Iterator[Metric]:
        """Return the metrics. Call it in the event loop's thread, which owns the connections."""
        open_now = GaugeMetricFamily("websocket_connections", "Open WebSocket connections.", labels=["endpoint"])
        for traffic in all_traffic():
            open_now.add_metric([traffic.endpoint], traffic.connections)
        yield open_now
        for name, text, labels, values in _TRAFFIC:
            counter = CounterMetricFamily(name, text, labels=["endpoint", *labels])
            for traffic in all_traffic():
                for further, value in values(traffic).items():
                    counter.add_metric([traffic.endpoint, *further], value)
            yield counter
        handlers = HistogramMetricFamily(
            "websocket_handler_seconds",
            "Time that consumers took for a client's message; a sample of the messages.",
            labels=["endpoint"],
        )
        for endpoint, histogram in HANDLER_SECONDS.items():
            handlers.add_metric([endpoint], *_samples(histogram))
        yield handlers
        for name, text, histogram in (
            ("websocket_broadcast_seconds", "Time that group_send took in this process.", BROADCAST_SECONDS),
            ("event_loop_lag_seconds", "How late the event loop called back, twice a second.", LOOP_LAG_SECONDS),
        ):
            buckets, total = _samples(histogram)
            yield HistogramMetricFamily(name, text, buckets=buckets, sum_value=total)
        for alias in settings.CHANNEL_LAYERS:
            statistics = getattr(channel_layers[alias], "statistics", None)
            for name, value in statistics.as_dict().items() if statistics else ():
                counter = CounterMetricFamily(f"channel_layer_{name}", f"See Statistics.{name}.", labels=["layer"])
                counter.add_metric([alias], value)
                yield counter


def _samples(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    bounds = [*(repr(bound) for bound in histogram.bounds), "+Inf"]
    return [*zip(bounds, itertools.accumulate(histogram.counts), strict=True)], histogram.total


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
