"""What this process counts, in plain integers: an increment costs some ten nanoseconds. ``/metrics`` reads them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict

#: The endpoint of a handshake that no route has been found for.
UNROUTED = "none"

#: Upper bounds in seconds. The first ones distinguish an endpoint that only answers from one that computes.
BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

#: Close codes that are counted by themselves. A client may send any of 3000 to 4999: those share one label each
#: thousand, or a client could make as many time series as there are codes.
COUNTED_CODES = frozenset([*range(1000, 1004), 1005, 1006, *range(1007, 1015), 3000, 3003, 3008])


class Histogram:
    """How often something took how long.

    Args:
        bounds: upper bounds of the buckets in seconds, rising; a last bucket without a bound is added.

    Attributes:
        counts: observations in each bucket.
        total: sum of all observations, in seconds.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class Traffic:
    """What went through one endpoint.

    Attributes:
        endpoint: the route, such as ``ws/rooms/<slug:room>``; never a path, of which there are too many.
        connections: how many are open now.
        messages_in: messages from clients.
        messages_out: messages to clients; a broadcast to 500 is 500.
        bytes_in: bytes read from the sockets since the upgrade request.
        bytes_out: bytes written to them.
        handshakes: by outcome, ``accepted``, the status of a refusal, or ``abandoned`` by the client.
        closes: by close code and by who closed: ``client``, ``server``, or ``network`` where nobody said anything.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.connections = 0
        self.messages_in = self.messages_out = 0
        self.bytes_in = self.bytes_out = 0
        self.handshakes: Counter[str] = Counter()
        self.closes: Counter[tuple[str, str]] = Counter()

    def opened(self) -> None:
        """Count a connection that was accepted."""
        self.connections += 1
        self.handshakes["accepted"] += 1

    def closed(self, code: int, by: str) -> None:
        """Count the end of an accepted connection."""
        self.connections -= 1
        label = str(code) if code in COUNTED_CODES else f"{code // 1000}xxx"
        self.closes[label, by] += 1


_traffic: dict[str, Traffic] = {}


def traffic_of(endpoint: str) -> Traffic:
    """Return the counters of an endpoint.

    Args:
        endpoint: a route of the project: there is a time series for each one.
    """
    if endpoint not in _traffic:
        _traffic[endpoint] = Traffic(endpoint)
    return _traffic[endpoint]


def all_traffic() -> list[Traffic]:
    """Return the counters of every endpoint that has been asked for."""
    return list(_traffic.values())


#: How long consumers took to handle a client's message, by endpoint: a sample, see ``consumers.serving``.
HANDLER_SECONDS: defaultdict[str, Histogram] = defaultdict(Histogram)

#: How long ``group_send`` took.
BROADCAST_SECONDS = Histogram()

#: How late the event loop called back, observed twice a second.
LOOP_LAG_SECONDS = Histogram()
