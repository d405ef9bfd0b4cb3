"""The load: picows clients on uvloop, which are faster than every server of the list but picows itself."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import statistics
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from benchmarks.contenders import RunningServer

__all__ = ["Measurement", "broadcast", "connects", "echo", "idle_memory", "two_processes", "typed_echo"]

#: Bytes of each message.
SIZE = 100

#: Clients that connect at the same time.
CONNECTING = 50

#: Connections of the memory measurement.
IDLE = 1000

#: Connections of the connects measurement.
CONNECTS = 1500

#: Seconds that a server has to come to rest after the connections: what a project notes of each is not a broadcast's.
SETTLE = 1.5

#: Seconds after which a server that gives no answer has lost.
TIMEOUT = 60.0


@dataclass(slots=True)
class Measurement:
    """What one run gave.

    Args:
        value: the figure of the scenario, in its unit.
        p50: median latency in milliseconds, where it was measured.
        p99: the latency that 99% stay below, in milliseconds.
        cpu: processor time of the server for each message or delivery, in microseconds.
        details: what else was measured.
    """

    value: float
    p50: float | None = None
    p99: float | None = None
    cpu: float | None = None
    details: dict[str, float] = field(default_factory=dict)


class Client(WSListener):
    """A connection that hands every message on.

    Args:
        on_message: called without arguments for each message.
    """

    def __init__(self, on_message: Callable[[], None]) -> None:
        self.on_message = on_message
        self.transport: WSTransport | None = None
        self.is_lost = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.is_lost = True

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            self.on_message()

    def send(self, payload: bytes) -> None:
        self.transport.send(WSMsgType.TEXT, payload)


async def _connect(urls: list[str], on_message: Callable[[], None]) -> list[Client]:
    gate = asyncio.Semaphore(CONNECTING)

    async def connect(url: str) -> Client:
        async with gate:
            _, client = await ws_connect(lambda: Client(on_message), url)
            return client

    return list(await asyncio.gather(*(connect(url) for url in urls)))


@contextlib.asynccontextmanager
async def connected(urls: list[str], on_message: Callable[[], None] = lambda: None) -> AsyncIterator[list[Client]]:
    """Open a connection to each URL; afterwards end them all."""
    clients = await asyncio.wait_for(_connect(urls, on_message), TIMEOUT)
    try:
        yield clients
    finally:
        for client in clients:
            client.transport.disconnect()


class _Echoing(Client):
    """Keeps a number of messages in flight, and notes how long each takes."""

    def __init__(self, payload: bytes) -> None:
        super().__init__(self._again)
        self.payload = payload
        self.sent_at: list[float] = []
        self.latencies: list[float] = []
        self.is_going = True

    def _again(self) -> None:
        now = time.perf_counter()
        self.latencies.append(now - self.sent_at.pop(0))
        if self.is_going:
            self.sent_at.append(now)
            self.send(self.payload)

    def start(self, in_flight: int) -> None:
        for _ in range(in_flight):
            self.sent_at.append(time.perf_counter())
            self.send(self.payload)


PAYLOAD = b"x" * SIZE

#: What ``/ws/typed`` answers with the same bytes.
STRUCT = b'{"type":"Say","ref":"r1","text":"%s"}' % (b"x" * (SIZE - 36))


async def echo(
    servers: list[RunningServer],
    seconds: float,
    *,
    connections: int = 50,
    in_flight: int = 1,
    path: str = "/ws",
    payload: bytes = PAYLOAD,
) -> Measurement:
    """Messages that come back per second, ``in_flight`` on their way at any time on each connection."""
    [server] = servers
    clients = []
    for _ in range(connections):
        _, client = await ws_connect(lambda: _Echoing(payload), server.url(path))
        clients.append(client)
    for client in clients:
        client.start(in_flight)
    await asyncio.sleep(seconds / 4)  # warm
    for client in clients:
        client.latencies.clear()
    cpu, started = server.cpu_seconds(), time.perf_counter()
    await asyncio.sleep(seconds)
    elapsed, cpu = time.perf_counter() - started, server.cpu_seconds() - cpu
    latencies = sorted(latency for client in clients for latency in client.latencies)
    for client in clients:
        client.is_going = False
        client.transport.disconnect()
    count = len(latencies)
    if not count or any(client.is_lost and not client.latencies for client in clients):
        raise RuntimeError("the server lost connections")
    return Measurement(
        count / elapsed, latencies[count // 2] * 1e3, latencies[count * 99 // 100] * 1e3, cpu / count * 1e6
    )


async def typed_echo(servers: list[RunningServer], seconds: float, *, in_flight: int = 1) -> Measurement:
    """Structs with a ``ref`` that come back per second, and what the same bytes cost as plain messages.

    Both are measured in turn, twice each, on the same server: in the order plain, typed, typed, plain.
    """
    runs: dict[str, list[Measurement]] = {"/ws/plain": [], "/ws/typed": []}
    for path in ("/ws/plain", "/ws/typed", "/ws/typed", "/ws/plain"):
        runs[path].append(await echo(servers, seconds / 2, in_flight=in_flight, path=path, payload=STRUCT))
    plain, typed = (statistics.fmean(run.cpu or 0.0 for run in each) for each in runs.values())
    slowest = min(runs["/ws/typed"], key=lambda run: run.value)
    return dataclasses.replace(slowest, cpu=typed, details={"cpu_of_plain": plain})


class _Rounds:
    """Counts the deliveries of a round, and says when it is complete."""

    def __init__(self) -> None:
        self.missing = 0
        self.complete = asyncio.Event()

    def expect(self, count: int) -> None:
        self.missing = count
        self.complete.clear()

    def one(self) -> None:
        self.missing -= 1
        if not self.missing:
            self.complete.set()


async def broadcast(servers: list[RunningServer], seconds: float, *, members: int, burst: int = 1) -> Measurement:
    """Deliveries per second of messages to ``members`` others on each server; the next comes when all have it.

    The clients take turns in speaking, so that no rate limit is met. The latency is that of the last delivery.
    """
    rounds = _Rounds()
    others = members * len(servers) + len(servers) - 1
    urls = [server.url("/ws/chat") for server in servers for _ in range(members + 1)]
    async with connected(urls, rounds.one) as clients:
        times: list[float] = []
        cpu = started = 0.0
        turn = 0
        deadline = time.perf_counter() + SETTLE
        is_warm = False
        while True:
            now = time.perf_counter()
            if now >= deadline:
                if is_warm:
                    break
                is_warm, deadline, started = True, now + seconds, now
                times.clear()
                cpu = sum(server.cpu_seconds() for server in servers)
            turn += 1
            speaker = clients[(turn * 7919) % len(clients)]
            rounds.expect(others * burst)
            for _ in range(burst):
                speaker.send(PAYLOAD)
            await rounds.complete.wait()
            times.append(time.perf_counter() - now)
        elapsed = time.perf_counter() - started
        cpu = sum(server.cpu_seconds() for server in servers) - cpu
        deliveries = len(times) * others * burst
        if any(client.is_lost for client in clients):
            raise RuntimeError("the server lost connections")
    times.sort()
    count = len(times)
    return Measurement(
        deliveries / elapsed,
        times[count // 2] * 1e3,
        times[count * 99 // 100] * 1e3,
        cpu / deliveries * 1e6,
        {"rounds": count},
    )


async def two_processes(servers: list[RunningServer], seconds: float, *, members: int) -> Measurement:
    """Deliveries per second to ``members`` others on each of two processes, and what they cost in one.

    In the same run, on the same servers: the processor time of a delivery where the first process has so many members
    and the other none, and where it has all of them. The latter is the one to compare with: the more sockets there
    are on a core, the smaller the part of them in its cache.
    """
    alone = await broadcast(servers[:1], seconds, members=members)
    together = await broadcast(servers[:1], seconds, members=members * len(servers))
    measurement = await broadcast(servers, seconds, members=members)
    measurement.details |= {"cpu_of_one_with_half": alone.cpu or 0.0, "cpu_of_one_with_all": together.cpu or 0.0}
    return measurement


async def connects(servers: list[RunningServer], seconds: float) -> Measurement:
    """Handshakes per second."""
    [server] = servers
    cpu, started = server.cpu_seconds(), time.perf_counter()
    async with connected([server.url("/ws")] * CONNECTS):
        elapsed, cpu = time.perf_counter() - started, server.cpu_seconds() - cpu
    return Measurement(CONNECTS / elapsed, cpu=cpu / CONNECTS * 1e6)


async def idle_memory(servers: list[RunningServer], seconds: float) -> Measurement:
    """KiB of the server's memory for each idle connection."""
    [server] = servers
    async with connected([server.url("/ws")] * 50):  # what the first connections load is not theirs alone
        await asyncio.sleep(SETTLE)
        before = server.resident_bytes()
        async with connected([server.url("/ws")] * IDLE):
            await asyncio.sleep(SETTLE)
            return Measurement((server.resident_bytes() - before) / IDLE / 1024)
