"""The measurements, the contenders of each, and how many servers it takes."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from benchmarks import load
from benchmarks.contenders import Contender, RunningServer
from benchmarks.load import Measurement

__all__ = ["SCENARIOS", "Scenario"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One measurement.

    Args:
        name: for the command line and the file names.
        title: for people.
        unit: of the figure.
        run: measures running servers for some seconds.
        servers: how many processes of the contender share the load.
        only_redis: whether it takes several processes that hear each other.
        only_ours: whether the peers are left out; stock Channels would need minutes for it.
        less_is_better: whether the smaller figure wins.
    """

    name: str
    title: str
    unit: str
    run: Callable[[list[RunningServer], float], Awaitable[Measurement]]
    servers: int = 1
    only_redis: bool = False
    only_ours: bool = False
    less_is_better: bool = False

    def takes(self, contender: Contender) -> bool:
        """Return whether ``contender`` is measured here."""
        return (contender.needs_redis or not self.only_redis) and (contender.is_ours or not self.only_ours)


def _broadcast(members: int, burst: int = 1) -> Callable[[list[RunningServer], float], Awaitable[Measurement]]:
    return functools.partial(load.broadcast, members=members, burst=burst)


SCENARIOS: Sequence[Scenario] = (
    Scenario("echo", "Echo: 50 connections, 100 bytes, one message in flight on each", "messages/s", load.echo),
    Scenario(
        "echo-burst",
        "Burst echo: 50 connections, 100 bytes, 32 in flight on each",
        "messages/s",
        functools.partial(load.echo, in_flight=32),
    ),
    Scenario(
        "echo-typed",
        "Typed echo: 50 connections, 100 bytes of JSON, one message in flight on each",
        "messages/s",
        load.typed_echo,
        only_ours=True,
    ),
    Scenario("broadcast-100", "One message to 100 others", "deliveries/s", _broadcast(100)),
    Scenario("broadcast-500", "One message to 500 others", "deliveries/s", _broadcast(500)),
    Scenario("broadcast-2000", "One message to 2000 others", "deliveries/s", _broadcast(2000)),
    Scenario("broadcast-5000", "One message to 5000 others", "deliveries/s", _broadcast(5000), only_ours=True),
    Scenario("burst-500", "Ten messages at once to 500 others", "deliveries/s", _broadcast(500, burst=10)),
    Scenario(
        "two-processes",
        "One message to 500 others on each of two processes, on one core",
        "deliveries/s",
        functools.partial(load.two_processes, members=500),
        servers=2,
        only_redis=True,
    ),
    Scenario("connects", "Handshakes, 50 at a time", "connects/s", load.connects),
    Scenario("memory", "Memory of an idle connection", "KiB", load.idle_memory, less_is_better=True),
)
