"""Two processes on one PostgreSQL and one Redis: every acknowledged message, once, in one order, whatever happens.

Readers come and go, and resume. The histories that they put together must be equal to what is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import websockets

from realtime.engine.testing import PostgresProcess, RedisProcess, ServerProcess

WRITERS = ["alice", "bob", "carol", "dave"]

#: What a client sees of a connection that has ended, and of a process that is gone.
LOST = (websockets.ConnectionClosed, websockets.InvalidHandshake, OSError, TimeoutError)


class Writer:
    """Sends numbered messages, one at a time, and sends again what was not acknowledged."""

    def __init__(self, site: Any, user: str, room: str, count: int) -> None:
        self._site = site
        self._user = user
        self._room = room
        self._count = count
        self._name = uuid.uuid4().hex[:8]
        self.acknowledged: dict[int, str] = {}

    async def run(self) -> None:
        """Send everything; comes back to another process when a connection ends."""
        number = 0
        while number < self._count:
            with contextlib.suppress(*LOST):
                client = await self._site.client(self._user, process=random.choice(self._site.processes))
                await client.join(self._room)
                while number < self._count:
                    content = f"{self._name} {number}"
                    ack = await self._say(client, content)
                    assert self.acknowledged.setdefault(ack["seq"], content) == content
                    number += 1
                await client.socket.close()

    async def _say(self, client: Any, content: str) -> Any:
        while True:
            await client.send("Chat", content=content, ref=content)
            while (message := await client.receive())["type"] not in ("Ack", "Error"):
                pass
            if message["type"] == "Ack":
                return message
            # The database was away, or we were too quick: the same message again.
            assert message["code"] in ("internal", "rate_limited")
            await asyncio.sleep(0.05)


class Reader:
    """Puts the room's history together over many connections; fails at the first repeat or gap."""

    def __init__(self, site: Any, user: str, room: str, pages: int) -> None:
        self._site = site
        self._user = user
        self._room = room
        #: Messages after which it leaves and comes back.
        self._pages = pages
        self.history: list[str] = []
        self._epoch = ""
        self._first: Any = None

    async def begin(self) -> None:
        """Join while the room is empty: a client that comes late without ``since`` gets the newest only."""
        self._first = await self._site.client(self._user, process=random.choice(self._site.processes))
        await self._join(self._first)

    async def read_until(self, total: int) -> None:
        """Read, leave at random and resume, until the history has ``total`` messages."""
        while len(self.history) < total:
            with contextlib.suppress(*LOST):
                client, self._first = self._first, None
                if client is None:
                    client = await self._site.client(self._user, process=random.choice(self._site.processes))
                    await self._join(client)
                stay = len(self.history) + random.randint(1, self._pages)
                while len(self.history) < min(total, stay):
                    message = await client.receive()
                    if message["type"] == "Chat":
                        self._add(message)
                client.socket.transport.abort()

    async def _join(self, client: Any) -> None:
        since = {"epoch": self._epoch, "seq": len(self.history)}
        joined = await client.join(self._room, **({"since": since} if self._epoch else {}))
        assert joined["recovered"] or not self._epoch
        self._epoch = joined["epoch"]
        for message in joined["messages"]:
            self._add(message)
        assert len(self.history) == joined["seq"]

    def _add(self, message: dict[str, Any]) -> None:
        assert message["seq"] == len(self.history) + 1, "a repeat or a gap"
        self.history.append(message["content"])


async def talk(site: Any, room: str, *, writers: int, messages: int, readers: int, disturb: Any = None) -> None:
    """Let everybody write and read, and compare all histories with what is stored."""
    creator = await site.client("alice")
    await creator.join(room)
    everybody_writes = [Writer(site, WRITERS[n % len(WRITERS)], room, messages) for n in range(writers)]
    everybody_reads = [Reader(site, WRITERS[n % len(WRITERS)], room, messages * writers // 5) for n in range(readers)]
    total = writers * messages
    for reader in everybody_reads:
        await reader.begin()
    async with asyncio.timeout(110), asyncio.TaskGroup() as group:
        for writer in everybody_writes:
            group.create_task(writer.run())
        for reader in everybody_reads:
            group.create_task(reader.read_until(total))
        if disturb is not None:
            group.create_task(disturb())
    stored = await stored_history(site, room)
    assert len(stored) == total
    for reader in everybody_reads:
        assert reader.history == stored
    for writer in everybody_writes:
        assert {seq: stored[seq - 1] for seq in writer.acknowledged} == writer.acknowledged


async def stored_history(site: Any, room: str) -> list[str]:
    """Return the contents of all messages, as ``History`` gives them."""
    client = await site.client("alice")
    joined = await client.join(room)
    history: list[str] = []
    before = joined["seq"] + 1
    while before > 1:
        await client.send("History", before=before, limit=200)
        page = (await client.until("History"))["messages"]  # others may come and go meanwhile
        history = [message["content"] for message in page] + history
        before = page[0]["seq"]
    return history


async def test_readers_that_come_and_go_read_what_is_stored(site: Any, room: str) -> None:
    await talk(site, room, writers=4, messages=50, readers=6)


@pytest.mark.soak
async def test_ten_writers_and_twenty_readers(site: Any, room: str) -> None:
    await talk(site, room, writers=10, messages=1000, readers=20)


@pytest.fixture
async def own_site(
    site: Any, postgresql_environment: dict[str, str], redis_server: RedisProcess, request: pytest.FixtureRequest
) -> AsyncIterator[Any]:
    """Two processes of this test's own, on PostgreSQL and on a Redis that it may kill."""
    environment = {**postgresql_environment, "REDIS_URL": redis_server.url}
    with ServerProcess(env=environment) as first, ServerProcess(env=environment) as second:
        own = type(site)([first, second], environment)
        yield own
        await own.close()


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
async def test_nothing_is_lost_while_redis_is_killed_and_started_again(
    own_site: Any, room: str, redis_server: RedisProcess
) -> None:
    halfway = asyncio.Event()

    async def disturb() -> None:
        reader = await own_site.client("carol")
        await reader.join(room)
        await reader.until("Chat")
        await asyncio.to_thread(redis_server.kill)
        # Some are stored and passed on while Redis is away.
        for _ in range(20):
            await reader.until("Chat")
        await asyncio.to_thread(redis_server.start)
        halfway.set()

    await talk(own_site, room, writers=4, messages=50, readers=4, disturb=disturb)
    assert halfway.is_set()


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
async def test_nothing_is_lost_when_a_process_is_killed(
    own_site: Any, room: str, postgresql_server: PostgresProcess
) -> None:
    async def disturb() -> None:
        reader = await own_site.client("carol", process=own_site.processes[0])
        await reader.join(room)
        for _ in range(20):
            await reader.until("Chat")
        await asyncio.to_thread(own_site.processes[1].kill)

    await talk(own_site, room, writers=4, messages=50, readers=4, disturb=disturb)
