"""Puts load on a server, and reports what it saw: ``manage.py loadtest``."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ipaddress
import itertools
import json
import random
import socket
import time
from array import array
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

__all__ = ["SCENARIOS", "Load", "Plan", "is_loopback", "percentile", "report", "sparkline"]

#: Handshakes under way at the same time.
OPENING = 50

#: Of 100 connections to /ws/chat or a room, so many write; the others only read.
WRITERS_PER_HUNDRED = 5

BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Args:
        url: ``ws://`` or ``wss://`` and host; the path of the scenario is used where it has none.
        scenario: a key of ``SCENARIOS``.
        connections: how many sockets are opened.
        seconds: for how long messages are sent.
        rate: messages that each writer sends in a second; 0 for the next as soon as the last is answered.
        size: bytes of an echoed message.
        token: access token for the handshake, None for a visitor.
        room: the room of the scenario ``rooms``.
    """

    url: str
    scenario: str = "echo"
    connections: int = 100
    seconds: float = 10
    rate: float = 1
    size: int = 100
    token: str | None = None
    room: str = "lobby"


@dataclass(slots=True)
class Load:
    """What was seen so far.

    Attributes:
        opened: connections that were accepted.
        sent: messages sent.
        received: messages received.
        errors: how often what went wrong.
        latencies: seconds from sending to receiving, each message at each receiver.
        per_second: messages received in each second.
    """

    plan: Plan
    opened: int = 0
    sent: int = 0
    received: int = 0
    errors: collections.Counter[str] = field(default_factory=collections.Counter)
    latencies: array[float] = field(default_factory=lambda: array("d"))
    per_second: list[int] = field(default_factory=list)
    _settled: asyncio.Queue[None] = field(default_factory=asyncio.Queue)
    _is_over: bool = False

    async def run(self, tell: Callable[[Load], None]) -> None:
        """Open the connections, send for ``plan.seconds``, and close them.

        Args:
            tell: called once a second.
        """
        go, opening = asyncio.Event(), asyncio.Semaphore(OPENING)
        clients = [asyncio.create_task(self._client(number, go, opening)) for number in range(self.plan.connections)]
        telling = asyncio.create_task(self._tell(tell))
        try:
            for _ in clients:
                await self._settled.get()
            go.set()
            await asyncio.sleep(self.plan.seconds)
        finally:
            self._is_over = True
            for task in (telling, *clients):
                task.cancel()
            await asyncio.gather(telling, *clients, return_exceptions=True)

    async def _tell(self, tell: Callable[[Load], None]) -> None:
        while True:
            before = self.received
            await asyncio.sleep(1)
            self.per_second.append(self.received - before)
            tell(self)

    async def _client(self, number: int, go: asyncio.Event, opening: asyncio.Semaphore) -> None:
        is_open = False
        try:
            async with self._connection(opening) as connection:
                self.opened += 1
                self._settled.put_nowait(None)
                is_open = True
                await SCENARIOS[self.plan.scenario][1](self, connection, number, go)
        except ConnectionClosed as closed:
            self._failed(f"closed with {closed.rcvd.code if closed.rcvd else 1006}")
        except InvalidStatus as refused:
            self._failed(f"refused with {refused.response.status_code}")
        except (WebSocketException, OSError, TimeoutError) as error:
            self._failed(type(error).__name__)
        finally:
            if not is_open:
                self._settled.put_nowait(None)

    @contextlib.asynccontextmanager
    async def _connection(self, opening: asyncio.Semaphore) -> AsyncIterator[ClientConnection]:
        plan = self.plan
        url = plan.url if urlsplit(plan.url).path.strip("/") else plan.url.rstrip("/") + SCENARIOS[plan.scenario][0]
        headers = {} if plan.token is None else {"Authorization": f"Bearer {plan.token}"}
        async with opening:
            connection = await connect(url, additional_headers=headers, compression=None, ping_interval=None)
        try:
            yield connection
        finally:
            await connection.close()

    def _failed(self, kind: str) -> None:
        if not self._is_over:
            self.errors[kind] += 1

    def seen(self, sent_at: float) -> None:
        """Count a message that was received."""
        self.received += 1
        self.latencies.append(time.perf_counter() - sent_at)

    async def pace(self) -> None:
        """Wait before the next message; at random, so that the writers do not march in step."""
        if self.plan.rate:
            await asyncio.sleep(random.expovariate(self.plan.rate))


async def _echo(load: Load, connection: ClientConnection, number: int, go: asyncio.Event) -> None:
    message = "x" * load.plan.size
    await go.wait()
    while True:
        await load.pace()
        start = time.perf_counter()
        await connection.send(message)
        load.sent += 1
        if await connection.recv() != message:
            load.errors["another message came back"] += 1
        load.seen(start)


async def _chat(load: Load, connection: ClientConnection, number: int, go: asyncio.Event) -> None:
    async def write() -> None:
        await go.wait()
        while True:
            await load.pace()
            await connection.send(repr(time.perf_counter()))
            load.sent += 1

    async with _beside(write(), number):
        async for message in connection:
            load.seen(float(str(message).rpartition(": ")[2]))


async def _rooms(load: Load, connection: ClientConnection, number: int, go: asyncio.Event) -> None:
    async def write() -> None:
        await go.wait()
        for count in itertools.count(1):
            await load.pace()
            content = repr(time.perf_counter())
            await connection.send(json.dumps({"type": "Chat", "content": content, "ref": f"{number}-{count}"}))
            load.sent += 1

    await connection.send(json.dumps({"type": "Join", "room": load.plan.room}))
    async with _beside(write(), number):
        async for text in connection:
            event = json.loads(text)
            if event["type"] == "Chat":
                load.seen(float(event["content"]))
            elif event["type"] == "Error":
                load.errors[f"Error {event['code']}"] += 1


@contextlib.asynccontextmanager
async def _beside(work: collections.abc.Coroutine[None, None, None], number: int) -> AsyncIterator[None]:
    """Run ``work`` meanwhile, if this connection is one of the writers."""
    if number % 100 >= WRITERS_PER_HUNDRED:
        work.close()
        yield
        return
    writing = asyncio.create_task(work)
    try:
        yield
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


#: Path and client of each scenario.
SCENARIOS = {"echo": ("/ws", _echo), "chat": ("/ws/chat", _chat), "rooms": ("/ws/rooms", _rooms)}


def is_loopback(url: str) -> bool:
    """Tell whether every address of the URL's host is this machine's own.

    Raises:
        OSError: if the name has no address.
        ValueError: if it is no WebSocket URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or parts.hostname is None:
        raise ValueError(f"{url!r} is not a ws:// or wss:// URL")
    found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


def percentile(ordered: list[float], share: float) -> float:
    """Return the value that ``share`` of the values do not pass; 0 for none."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def sparkline(values: list[int]) -> str:
    """Return a line of bars, the highest for the largest value."""
    top = max(values, default=0) or 1
    return "".join(BARS[min(value * len(BARS) // (top + 1), len(BARS) - 1)] for value in values)


def report(load: Load) -> str:
    """Return what a person wants to know at the end."""
    plan, ordered = load.plan, sorted(load.latencies)
    rate = load.received / plan.seconds
    lines = [
        f"{plan.scenario}: {load.opened} of {plan.connections} connections, {plan.seconds:g} s",
        f"  sent      {load.sent:>10,} messages, {load.sent / plan.seconds:,.0f}/s",
        f"  received  {load.received:>10,} messages, {rate:,.0f}/s   {sparkline(load.per_second)}",
        "  latency   "
        + "  ".join(f"p{share * 100:g} {percentile(ordered, share) * 1000:.1f} ms" for share in (0.5, 0.99, 0.999)),
        *_latency_plot(ordered),
        "  errors    " + (", ".join(f"{kind}: {count}" for kind, count in load.errors.most_common()) or "none"),
    ]
    return "\n".join(lines)


def _latency_plot(ordered: list[float]) -> list[str]:
    """Return a bar for each power of two of milliseconds that occurred."""
    if not ordered:
        return []
    counts = collections.Counter(max(0, int(seconds * 1000)).bit_length() for seconds in ordered)
    widest = max(counts.values())
    return [
        f"    under {2**bits:>6} ms {'█' * max(1, round(40 * counts[bits] / widest)) if counts[bits] else '':<40} "
        f"{counts[bits]:,}"
        for bits in range(min(counts), max(counts) + 1)
    ]
