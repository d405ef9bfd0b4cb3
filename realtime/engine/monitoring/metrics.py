"""``/metrics``: what this process has counted, in Prometheus' format.

Every process answers for itself; Prometheus asks each one. The counters are the plain integers of
``monitoring.counters`` and the channel layers; nothing is kept here twice. Other packages add figures of their own::

    Gauge("rooms_active", "Rooms with members.", registry=REGISTRY).set_function(lambda: len(active_rooms))
"""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections.abc import Iterator, Mapping, Sequence
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

__all__ = ["REGISTRY", "ProcessMetrics", "metrics", "watch_lag"]

#: Seconds between two looks at how late the event loop is.
LAG_INTERVAL = 0.5


class ProcessMetrics(Collector):
    """Turns the counters of this process into metrics, when Prometheus asks."""

    def collect(self) -> Iterator[Metric]:
        """Return the metrics. Call it in the event loop's thread, which owns the connections."""
        yield from _of_endpoints(all_traffic())
        for name, text, labels, histograms in (
            (
                "websocket_handler_seconds",
                "Time that consumers took for a client's message; a sample of the messages.",
                ["endpoint"],
                {(endpoint,): histogram for endpoint, histogram in HANDLER_SECONDS.items()},
            ),
            ("websocket_broadcast_seconds", "Time that group_send took in this process.", [], {(): BROADCAST_SECONDS}),
            ("event_loop_lag_seconds", "How late the event loop called, twice a second.", [], {(): LOOP_LAG_SECONDS}),
        ):
            family = HistogramMetricFamily(name, text, labels=labels)
            for values, histogram in histograms.items():
                bounds = [*map(repr, histogram.bounds), "+Inf"]
                buckets = [*zip(bounds, itertools.accumulate(histogram.counts), strict=True)]
                family.add_metric(values, buckets, histogram.total)
            yield family
        for alias in settings.CHANNEL_LAYERS:
            statistics = getattr(channel_layers[alias], "statistics", None)
            for name, value in statistics.as_dict().items() if statistics else ():
                yield _counter(f"channel_layer_{name}", f"See Statistics.{name}.", ["layer"], {(alias,): value})


def _of_endpoints(endpoints: Sequence[Traffic]) -> Iterator[Metric]:
    open_now = GaugeMetricFamily("websocket_connections", "Open WebSocket connections.", labels=["endpoint"])
    for of in endpoints:
        open_now.add_metric([of.endpoint], of.connections)
    yield open_now
    yield _counter(
        "websocket_handshakes",
        "Handshakes by outcome: accepted, a status, abandoned.",
        ["endpoint", "outcome"],
        {(of.endpoint, outcome): count for of in endpoints for outcome, count in of.handshakes.items()},
    )
    into = {(of.endpoint, "in"): of.messages_in for of in endpoints}
    out = {(of.endpoint, "out"): of.messages_out for of in endpoints}
    text = "Text and binary messages; each receiver of a broadcast counts."
    yield _counter("websocket_messages", text, ["endpoint", "direction"], into | out)
    into = {(of.endpoint, "in"): of.bytes_in for of in endpoints}
    out = {(of.endpoint, "out"): of.bytes_out for of in endpoints}
    yield _counter("websocket_bytes", "Bytes on the sockets since the upgrade.", ["endpoint", "direction"], into | out)
    yield _counter(
        "websocket_closes",
        "Ends of connections by close code and by who closed.",
        ["endpoint", "code", "by"],
        {(of.endpoint, *key): count for of in endpoints for key, count in of.closes.items()},
    )


def _counter(name: str, text: str, labels: Sequence[str], values: Mapping[Any, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def watch_lag(loop: asyncio.AbstractEventLoop, histogram: Histogram = LOOP_LAG_SECONDS) -> None:
    """Notice what holds the event loop up: a timer that is called late was waiting for somebody.

    Args:
        loop: the event loop, whose timers keep the watch alive; it ends with its loop.
        histogram: where the delays are counted.
    """

    def arm() -> None:
        due = loop.time() + LAG_INTERVAL
        loop.call_at(due, ring, due)

    def ring(due: float) -> None:
        histogram.observe(max(0.0, loop.time() - due))
        arm()

    arm()


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
        watch_lag(loop)
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(REGISTRY), content_type=content_type, headers={"Cache-Control": "no-store"})
