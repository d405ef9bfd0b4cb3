"""The whole site under steady load for ten minutes: no process grows, and no room message is lost or doubled."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import statistics
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from realtime.engine.testing import credentials

#: Seconds of load; the environment may ask for fewer, or for a night.
SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))

#: The share of the time in which caches fill, pools open and allocators find their size; it is not looked at.
WARM_UP = 0.2
SAMPLES = 200

WRITERS, READERS, ECHOES = 4, 16, 20
#: Seconds between two messages of one writer, two echoes of one socket, two passing clients, two requests.
WRITING, ECHOING, PASSING, ASKING = 0.04, 0.2, 0.2, 0.5
#: Seconds after which the HTTP client gets a new token, which lives for fifteen minutes.
TOKEN_AGE = 60

#: MiB by which the median of the last quarter may be over that of the first. A web process takes about four for its
#: first four thousand clients, and none for the next two thousand; this load brings a third of them. Two hundred bytes
#: that each message leaves behind would be more in ten minutes, and so would five KiB of each passing client.
GROWTH = 4.0
#: The same for descriptors, of which passing clients hold some at any moment: one left by each would be a thousand.
MORE_DESCRIPTORS = 8

MIB = 1024 * 1024

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 300)]


# What is measured


@dataclass
class Trend:
    """What one process, or a group of processes that come and go, had at each sample.

    Attributes:
        is_group: whether the processes come and go with connections, as those of PostgreSQL do.
        memory: bytes of its own. Not what it shares: PostgreSQL's buffers and mapped files fill with the history of the
            rooms, and are bounded by the configuration.
            Of a group what each process has on average.
        descriptors: open files and sockets. Of a group the number of its processes: each of PostgreSQL's keeps the
            files of the tables that it has met open, up to ``max_files_per_process``.
    """

    is_group: bool = False
    memory: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def add(self, pids: Sequence[int]) -> None:
        """Take a sample."""
        found = [usage for pid in pids if (usage := usage_of(pid)) is not None]
        self.memory.append(statistics.mean(memory for memory, _ in found))
        self.descriptors.append(len(found) if self.is_group else sum(count for _, count in found))

    def growth(self) -> tuple[float, float]:
        """Return MiB and descriptors by which the last quarter's median is over the first's, after the warm-up."""
        memory, descriptors = (
            _growth(values[int(len(values) * WARM_UP) :]) for values in (self.memory, self.descriptors)
        )
        return memory / MIB, descriptors

    def __str__(self) -> str:
        memory, descriptors = self.growth()
        what = "processes" if self.is_group else "descriptors"
        return (
            f"{self.memory[0] / MIB:7.1f} -> {self.memory[-1] / MIB:7.1f} MiB (trend {memory:+.2f}), "
            f"{self.descriptors[0]:4} -> {self.descriptors[-1]:4} {what} (trend {descriptors:+.1f})"
        )


def _growth(values: Sequence[float]) -> float:
    quarter = len(values) // 4
    return statistics.median(values[-quarter:]) - statistics.median(values[:quarter])


def usage_of(pid: int) -> tuple[int, int] | None:
    """Return the private memory and the descriptors of a process; None for one that has ended meanwhile."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        memory = re.search(r"^RssAnon:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return (int(memory[1]) * 1024, descriptors) if memory else None
    return None


class Watch:
    """Samples every process of the topology.

    Args:
        topology: nginx and the web processes.
        redis: the Redis server.
        postgresql: the PostgreSQL server; its backends come and go with their connections, and count together.
    """

    def __init__(self, topology: Any, redis: Any, postgresql: Any) -> None:
        self._processes: dict[str, Callable[[], Sequence[int]]] = {
            "nginx": lambda: [topology.nginx.pid],
            "redis": lambda: [redis.pid],
            "postgresql": postgresql.processes,
        }
        for number, pid in enumerate(sorted(topology.nginx.workers()), start=1):
            self._processes[f"nginx worker {number}"] = lambda pid=pid: [pid]
        for number, web in enumerate(topology.web, start=1):
            self._processes[f"web-{number}"] = lambda web=web: [web.process.pid]
        self.trends = {name: Trend(is_group=name == "postgresql") for name in self._processes}

    async def run(self) -> None:
        """Take a sample now and then, until cancelled."""
        while True:
            for name, pids in self._processes.items():
                self.trends[name].add(pids())
            await asyncio.sleep(SECONDS / SAMPLES)


# The load


class Member:
    """A connection to the room ``lobby`` that notes every message.

    Attributes:
        heard: numbers of the messages of others, in the order of arrival.
        stored: numbers of its own messages, as they were acknowledged.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.first = 0
        self.heard: list[int] = []
        self.stored: list[int] = []
        self.complete = asyncio.Condition()

    async def join(self) -> None:
        """Enter the room."""
        await self._socket.send('{"type": "Join", "room": "lobby"}')
        joined = json.loads(await self._socket.recv())
        assert joined["type"] == "Joined", joined
        self.first = joined["seq"]

    async def read(self) -> None:
        """Note what comes, until cancelled; nothing may close the connection."""
        while True:
            event = json.loads(await self._socket.recv())
            assert event["type"] in ("Chat", "Ack", "Presence"), event
            async with self.complete:
                if event["type"] == "Chat":
                    self.heard.append(event["seq"])
                elif event["type"] == "Ack":
                    self.stored.append(event["seq"])
                self.complete.notify_all()

    async def write(self, number: int) -> None:
        """Post a message."""
        await self._socket.send(json.dumps({"type": "Chat", "content": f"message {number}", "ref": str(number)}))

    async def until(self, count: int) -> None:
        """Wait until so many messages are known."""
        async with self.complete:
            await self.complete.wait_for(lambda: len(self.heard) + len(self.stored) >= count)


class Site:
    """What clients do to the site.

    Args:
        topology: the site.
        password: of the demo users.
    """

    def __init__(self, topology: Any, password: str) -> None:
        self._topology = topology
        self._password = password
        self.counts = dict.fromkeys(("written", "posted", "echoes", "passing", "requests"), 0)

    def open(self, path: str) -> Any:
        """Open a WebSocket through nginx."""
        return connect(self._topology.nginx.ws(path), ping_interval=None, open_timeout=60)

    async def write(self, member: Member) -> None:
        """Write into the room."""
        await member.write(self.counts["written"])
        self.counts["written"] += 1

    async def echo(self, socket: ClientConnection) -> None:
        """Send something, and get it back."""
        text = "x" * (self.counts["echoes"] % 2000)
        await socket.send(text)
        assert await socket.recv() == text
        self.counts["echoes"] += 1

    async def pass_by(self) -> None:
        """Come and go, in the ways in which clients do it."""
        way = self.counts["passing"] % 4
        self.counts["passing"] += 1
        async with self.open("/ws/rooms" if way == 0 else "/ws") as socket:
            if way == 0:
                await Member(socket).join()
            elif way == 1:
                await self.echo(socket)
            elif way == 2:
                socket.transport.abort()

    async def ask(self, token: str) -> None:
        """Use the HTTP interface: read the room's newest messages, or post one, or take a ticket and use it."""
        number = self.counts["requests"]
        self.counts["requests"] += 1
        match number % 4:
            case 0 | 2:
                page = await self.request("/api/rooms/lobby/messages/", token)
                assert "results" in page
            case 1:
                await self.request("/api/rooms/lobby/messages/", token, {"content": f"posted {number}"})
                self.counts["posted"] += 1
            case 3:
                ticket = (await self.request("/api/ws-ticket/", token, {}))["ticket"]
                async with self.open(f"/ws/auth?ticket={ticket}") as socket:
                    await socket.send("hello")
                    assert await socket.recv() == "hello"

    async def log_in(self) -> str:
        """Return a token."""
        return (await self.request("/api/token/", None, credentials("ann", self._password)))["access"]

    async def request(self, path: str, token: str | None, body: Any = None) -> Any:
        """Make a request, and return the JSON of the answer; an error status is an error."""
        return await asyncio.to_thread(self._request, path, token, body)

    def _request(self, path: str, token: str | None, body: Any) -> Any:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(
            urllib.request.Request(self._topology.nginx.http(path), data, headers), timeout=60
        ) as answer:
            return json.load(answer)

    async def keep_asking(self, stop: asyncio.Event) -> None:
        """Use the HTTP interface, with a token that is never old."""
        for number in itertools.count():
            if stop.is_set():
                return
            if number % int(TOKEN_AGE / ASKING) == 0:
                token = await self.log_in()
            await self.ask(token)
            await asyncio.sleep(ASKING)


async def repeat(action: Callable[[], Awaitable[None]], pause: float, stop: asyncio.Event) -> None:
    """Do something again and again."""
    while not stop.is_set():
        await action()
        await asyncio.sleep(pause)


async def load(site: Site, watch: Watch) -> list[Member]:
    """Load the site for ``SECONDS``, wait until every member knows every message, and return the members."""
    stop = asyncio.Event()
    async with contextlib.AsyncExitStack() as sockets:
        members = [Member(await sockets.enter_async_context(site.open("/ws/rooms"))) for _ in range(WRITERS + READERS)]
        for member in members:
            await member.join()
        echoes = [await sockets.enter_async_context(site.open("/ws")) for _ in range(ECHOES)]
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(work) for work in (watch.run(), *(member.read() for member in members))]
            asyncio.get_running_loop().call_later(SECONDS, stop.set)
            await asyncio.gather(
                *(repeat(lambda writer=writer: site.write(writer), WRITING, stop) for writer in members[:WRITERS]),
                *(repeat(lambda socket=socket: site.echo(socket), ECHOING, stop) for socket in echoes),
                repeat(site.pass_by, PASSING, stop),
                site.keep_asking(stop),
            )
            total = site.counts["written"] + site.counts["posted"]
            await asyncio.gather(*(member.until(total) for member in members))
            for task in background:
                task.cancel()
    return members


@pytest.fixture
def report(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints a line of the report, whether the test passes or not."""

    def line(text: str) -> None:
        with capsys.disabled():
            request.config.get_terminal_writer().line(text)

    return line


async def test_no_process_grows_and_no_message_is_lost_or_doubled(
    topology, redis_server, postgresql_server, password: str, report
) -> None:
    site, watch = Site(topology, password), Watch(topology, redis_server, postgresql_server)
    members = await load(site, watch)

    report(f"\n{SECONDS:g} s: " + ", ".join(f"{count} {name}" for name, count in site.counts.items()))
    for name, trend in sorted(watch.trends.items()):
        report(f"{name:15} {trend}")

    total = site.counts["written"] + site.counts["posted"]
    first = members[0].first
    assert {member.first for member in members} == {first}
    everything = list(range(first + 1, first + total + 1))
    for member in members:
        assert member.heard == sorted(member.heard)
        assert sorted(member.heard + member.stored) == everything  # each once
    assert sum(len(member.stored) for member in members) == site.counts["written"]

    grown = {name: growth for name, trend in watch.trends.items() if (growth := trend.growth())[0] > GROWTH}
    assert grown == {}
    leaking = {name: growth for name, trend in watch.trends.items() if (growth := trend.growth())[1] > MORE_DESCRIPTORS}
    assert leaking == {}
