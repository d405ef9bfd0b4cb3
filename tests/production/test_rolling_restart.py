"""A rolling restart behind nginx: every socket is closed with 1012, and no room message is lost or doubled."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from realtime.engine.testing import ServerProcess, credentials

#: Sockets and members of the room: what every run has time for, and the real size.
SIZES = [(150, 12), pytest.param(1000, 40, marks=pytest.mark.soak)]
WRITERS = 6
#: Handshakes under way at the same time, while the sockets are opened.
OPENING = 50
#: Seconds that a writer takes a breath; some messages a second for each.
PACE = 0.1

SERVICE_RESTART = 1012
GATEWAY_TIMEOUT = 504


class Client:
    """A connection through nginx that comes back whenever it ends.

    Attributes:
        ends: close codes of the connections that it has lost.
        refusals: answers to handshakes that were refused; it comes back after them too.
    """

    path = "/ws"

    def __init__(self, address: str, token: str | None = None) -> None:
        self._address = address
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.ends: list[int] = []
        self.refusals: list[int] = []
        self.connected = asyncio.Event()
        self.connections = 0

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            try:
                async with connect(
                    self._address + self.path, additional_headers=self._headers, ping_interval=None, open_timeout=60
                ) as socket:
                    self.connections += 1
                    await self.talk(socket)
            except ConnectionClosed as closed:
                self.ends.append(closed.rcvd.code if closed.rcvd else 1006)
            except (InvalidHandshake, OSError) as refused:
                self.refusals.append(getattr(getattr(refused, "response", None), "status_code", 0))
                await asyncio.sleep(0.2)  # the back-off of a client
            finally:
                self.connected.clear()

    async def talk(self, socket: ClientConnection) -> None:
        """Show that the connection works, and wait for its end."""
        await socket.send("there?")
        assert await socket.recv() == "there?"
        self.connected.set()
        await socket.recv()


class Member(Client):
    """Reads a room, and comes back with ``since``.

    Attributes:
        heard: what others wrote, by number, in the order of arrival.
        own: numbers of this member's messages, by content.
    """

    path = "/ws/rooms"

    def __init__(self, address: str, name: str, token: str | None) -> None:
        super().__init__(address, token)
        self.name = name
        self.heard: list[tuple[int, str]] = []
        self.own: dict[str, int] = {}
        self.first: int | None = None
        self._epoch = ""
        self._known: set[int] = set()
        self.complete = 0
        self._unanswered: dict[str, asyncio.Future[int]] = {}
        self._socket: ClientConnection | None = None
        self.news = asyncio.Condition()

    async def talk(self, socket: ClientConnection) -> None:
        since = {} if self.first is None else {"since": {"epoch": self._epoch, "seq": self.complete}}
        await socket.send(json.dumps({"type": "Join", "room": "lobby", **since}))
        async for text in socket:
            event = json.loads(text)
            match event["type"]:
                case "Joined":
                    await self._joined(event, socket)
                case "Chat":
                    await self._learn(event["seq"], event["content"])
                case "Ack":
                    answer = self._unanswered.get(event["ref"])
                    if answer is not None and not answer.done():
                        answer.set_result(event["seq"])
                    await self._learn(event["seq"], event["ref"])
                case "Error":
                    raise AssertionError(event)
        raise ConnectionClosed(socket.protocol.close_rcvd, socket.protocol.close_sent)

    async def _joined(self, event: dict[str, Any], socket: ClientConnection) -> None:
        if self.first is None:
            self.first = self.complete = event["seq"]
        else:
            assert event["recovered"], event
            for message in event["messages"]:
                await self._learn(message["seq"], message["content"])
        self._epoch = event["epoch"]
        self._socket = socket
        for content in list(self._unanswered):
            await self._post(content)
        self.connected.set()

    async def _learn(self, seq: int, content: str) -> None:
        async with self.news:
            if not content.startswith(f"{self.name} "):
                self.heard.append((seq, content))
            self._known.add(seq)
            while self.complete + 1 in self._known:
                self.complete += 1
            self.news.notify_all()

    async def write(self, content: str) -> None:
        """Have a message stored, across however many connections; an unanswered one is sent again with the same ref."""
        self._unanswered[content] = asyncio.get_running_loop().create_future()
        if self.connected.is_set():
            with contextlib.suppress(ConnectionClosed):
                await self._post(content)
        self.own[content] = await self._unanswered[content]
        del self._unanswered[content]

    async def _post(self, content: str) -> None:
        assert self._socket is not None
        await self._socket.send(json.dumps({"type": "Chat", "content": content, "ref": content}))

    async def until(self, seq: int) -> None:
        """Wait until everything up to a number is known."""
        async with self.news:
            await self.news.wait_for(lambda: self.complete >= seq)


async def keep_writing(member: Member, stop: asyncio.Event) -> None:
    for number in itertools.count(1):
        await member.write(f"{member.name} {number}")
        if stop.is_set():
            return
        await asyncio.sleep(PACE)


def get_token(topology, password: str) -> str:
    """Return an access token: only a signed-in author's repeated message is known for the same after a reconnect."""
    body = json.dumps(credentials("ann", password)).encode()
    request = urllib.request.Request(topology.nginx.http("/api/token/"), body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["access"]


def open_sockets(web: ServerProcess) -> int:
    """Return how many sockets a web process has, by its own metrics."""
    with urllib.request.urlopen(web.http("/metrics"), timeout=30) as response:
        text = response.read().decode()
    return sum(int(float(value)) for value in re.findall(r"^websocket_connections\{.*\} (\S+)$", text, re.MULTILINE))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("sockets", "size_of_room"), SIZES)
async def test_a_rolling_restart_under_load_loses_and_doubles_no_message(
    topology, password: str, sockets: int, size_of_room: int
) -> None:
    address = topology.nginx.ws("")
    token = await asyncio.to_thread(get_token, topology, password)
    members = [Member(address, f"m{number}", token if number < WRITERS else None) for number in range(size_of_room)]
    clients: list[Client] = [*members, *(Client(address) for _ in range(sockets - size_of_room))]
    tasks: list[asyncio.Task[None]] = []
    try:
        for batch in batches(clients):
            tasks += [asyncio.create_task(client.run()) for client in batch]
            await asyncio.gather(*(client.connected.wait() for client in batch))
        shares = [await asyncio.to_thread(open_sockets, web) for web in topology.web]
        assert sum(shares) == sockets
        assert max(shares) - min(shares) <= sockets // 10, shares  # the fewest connections come first

        stop = asyncio.Event()
        writing = [asyncio.create_task(keep_writing(member, stop)) for member in members[:WRITERS]]
        for number in range(len(topology.web)):
            await asyncio.to_thread(topology.replace_web, number)
            await asyncio.gather(*(client.connected.wait() for client in clients))
        stop.set()
        await asyncio.gather(*writing)
        last = max(seq for member in members for seq in member.own.values())
        await asyncio.gather(*(member.until(last) for member in members))
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [outcome for outcome in outcomes if not isinstance(outcome, asyncio.CancelledError)] == []

    written = {seq: content for member in members for content, seq in member.own.items()}
    assert len(written) == sum(len(member.own) for member in members)  # one number for each message
    assert sorted(written) == list(range(min(written), last + 1))  # nothing was stored twice
    assert len(written) >= 10 * WRITERS
    for member in members:
        foreign = [(seq, content) for seq, content in sorted(written.items()) if member.own.get(content) != seq]
        assert member.heard == foreign, member.name  # each once, in order
    ends = collections.Counter(code for client in clients for code in client.ends)
    # The stopped process closes every socket.
    assert set(ends) == {SERVICE_RESTART}, ends
    assert ends[SERVICE_RESTART] >= sockets
    assert sum(client.connections for client in clients) == sockets + ends[SERVICE_RESTART]
    # nginx finds the other process for every handshake; on a machine that is too busy to answer it may give up in time.
    assert {status for client in clients for status in client.refusals} <= {GATEWAY_TIMEOUT}


def batches(clients: list[Client]) -> Iterator[list[Client]]:
    for start in range(0, len(clients), OPENING):
        yield clients[start : start + OPENING]
