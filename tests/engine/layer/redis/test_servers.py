"""Two real servers on one Redis, and their clients."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime.engine.testing import RedisProcess, ServerProcess, free_port
from realtime.engine.testing.fixtures import start_redis

#: Seconds within which delivery is back once Redis is back.
RECOVERY = 5


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisProcess]:
    """A Redis server for the two servers; a test that ends it starts it again."""
    yield from start_redis()


@pytest.fixture(scope="module")
def servers(
    redis: RedisProcess, database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    copy = tmp_path_factory.mktemp("servers") / "db.sqlite3"
    copy.write_bytes(database.read_bytes())
    env = {"REDIS_URL": redis.url, "DJANGO_SETTINGS_MODULE": "tests.engine.layer.settings"}
    with ServerProcess(env=env, database=copy) as first, ServerProcess(env=env, database=copy) as second:
        yield first, second


async def said(client: ClientConnection) -> str:
    return str(await asyncio.wait_for(client.recv(), 10))


async def read_to_the_end(client: ClientConnection) -> None:
    while True:
        await client.recv()


async def hear(speaker: ClientConnection, listener: ClientConnection, text: str) -> str:
    """Say ``text`` until the listener has heard it; what comes before it was said earlier."""
    async with asyncio.timeout(RECOVERY):
        while True:
            await speaker.send(text)
            try:
                return str(await asyncio.wait_for(listener.recv(), 0.2))
            except TimeoutError:
                continue


async def test_a_chat_message_reaches_the_clients_of_both_servers_under_unique_numbers(servers):
    first, second = servers
    async with (
        connect(first.ws("/ws/chat")) as ann,
        connect(second.ws("/ws/chat")) as ben,
        connect(first.ws("/ws/chat")) as cid,
    ):
        numbers = {}
        for name, client, others in (("ann", ann, (ben, cid)), ("ben", ben, (ann, cid)), ("cid", cid, (ann, ben))):
            await client.send(name)
            heard = {await said(other) for other in others}
            assert len(heard) == 1
            numbers[name] = int(re.fullmatch(rf"<User#(\d+)>: {name}", heard.pop()).group(1))
    first_number = min(numbers.values())
    assert sorted(numbers.values()) == [first_number, first_number + 1, first_number + 2]


async def test_a_client_that_leaves_and_joins_in_one_segment_goes_on_hearing_the_other_server(servers):
    first, second = servers
    async with connect(first.ws("/ws/member")) as ann, connect(second.ws("/ws/member")) as ben:
        await ann.send("join")
        await ann.send("alone")
        assert await said(ann) == "alone"
        for text in ("leave", "join", "again"):
            ann.protocol.send_text(text.encode())
        ann.transport.write(b"".join(ann.protocol.data_to_send()))
        assert await said(ann) == "again"
        for number in range(3):  # the group is unsubscribed, if at all, after one of them
            await ben.send(f"from the other server {number}")
            assert await said(ann) == f"from the other server {number}"


async def test_a_redis_that_is_killed_and_started_again_costs_no_connection(servers, redis):
    first, second = servers
    async with (
        connect(first.ws("/ws")) as echo,
        connect(first.ws("/ws/chat")) as ann,
        connect(first.ws("/ws/chat")) as neighbour,
        connect(second.ws("/ws/chat")) as ben,
    ):
        await ann.send("before")
        heard = await said(neighbour)
        assert heard == await said(ben)
        user = heard.removesuffix(": before")
        assert re.fullmatch(r"<User#\d+>", user)
        redis.kill()
        await echo.send("still here")
        assert await said(echo) == "still here"
        await ann.send("to the neighbour")
        assert await said(neighbour) == f"{user}: to the neighbour"
        async with connect(second.ws("/ws")) as late:
            await late.send("new connections too")
            assert await said(late) == "new connections too"
        redis.start()
        assert await hear(ann, ben, "back") in {f"{user}: to the neighbour", f"{user}: back"}
    assert first.process.poll() is None
    assert second.process.poll() is None


async def test_without_redis_the_chat_is_refused_and_readyz_says_why(database, tmp_path):
    copy = tmp_path / "db.sqlite3"
    copy.write_bytes(database.read_bytes())
    port = free_port()
    with ServerProcess(env={"REDIS_URL": f"redis://127.0.0.1:{port}/0"}, database=copy) as server:
        async with connect(server.ws("/ws")) as echo:
            await echo.send("hi")
            assert await said(echo) == "hi"
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.ws("/ws/chat"))
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["Retry-After"]
        with pytest.raises(HTTPError) as unready:
            await asyncio.to_thread(urlopen, server.http("/readyz"))
        report = json.load(unready.value)
        unready.value.close()
        assert unready.value.code == 503
        assert report["checks"]["channel_layer"]["problem"] == "UpstreamUnavailable"
        assert f"127.0.0.1:{port}/0 cannot be reached" in server.log


async def test_a_client_that_does_not_read_is_closed_with_1013_and_delays_nobody(server):
    async with connect(server.ws("/ws/chat"), max_queue=1) as slow:
        async with (
            connect(server.ws("/ws/chat")) as ann,
            connect(server.ws("/ws/chat")) as ben,
            connect(server.ws("/ws/chat")) as listener,
        ):
            # 15 MB: more than all the buffers on the way to the slow one. Two speak, each below the rate limit.
            for _ in range(125):
                for speaker, other in ((ann, ben), (ben, ann)):
                    await speaker.send("x" * 60_000)
                    assert len(await said(listener)) == len(await said(other)) > 60_000
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(read_to_the_end(slow), 20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
