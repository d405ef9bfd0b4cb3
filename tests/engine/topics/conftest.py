"""Servers with topics, and a client that calls what the endpoint ``/ws/topics`` offers."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realtime.engine.testing import Client, RedisProcess, ServerProcess, open_socket

SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.engine.topics.settings"}


class TopicClient:
    """A client of ``/ws/topics``."""

    def __init__(self, client: Client) -> None:
        self.client = client
        #: Answers to calls, which may come before or after what the calls cause.
        self.news: list[dict[str, Any]] = []

    async def call(self, method: str, **arguments: Any) -> Any:
        """Call a method of the endpoint's topics and return what it returned; None for nothing."""
        await self.client.send_json([method, arguments])
        while True:
            message = await self.client.receive_json()
            if isinstance(message, list):
                return message[1]
            self.news.append(message)

    async def next(self, kind: str | None = None) -> dict[str, Any]:
        """Return the next message of a type; what comes before it is dropped."""
        while True:
            message = self.news.pop(0) if self.news else await self.client.receive_json()
            if kind is None or message["type"] == kind:
                return message  # type: ignore[no-any-return]

    async def seen_so_far(self) -> list[dict[str, Any]]:
        """Return everything that the server had sent before it answered a call of now."""
        await self.call("history", topic="nowhere")
        news, self.news = self.news, []
        return news

    async def subscribe(self, topic: str, **arguments: Any) -> dict[str, Any]:
        """Subscribe, and return ``Subscribed``."""
        assert await self.call("subscribe", topic=topic, **arguments) is None
        return await self.next("Subscribed")


Connect = Callable[..., Awaitable[TopicClient]]


@pytest.fixture(scope="session")
def topics_server(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One process, without Redis."""
    copy = tmp_path_factory.mktemp("topics") / "db.sqlite3"
    copy.write_bytes(database.read_bytes())
    with ServerProcess(database=copy, env=SETTINGS) as process:
        yield process


@pytest.fixture(scope="session")
def topics_servers(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ServerProcess]]:
    """Two processes on one database, joined by Redis."""
    copy = tmp_path_factory.mktemp("topics") / "db.sqlite3"
    copy.write_bytes(database.read_bytes())
    try:
        redis = RedisProcess()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    environment = {**SETTINGS, "REDIS_URL": redis.url}
    with contextlib.ExitStack() as stack:
        stack.callback(redis.kill)
        yield [stack.enter_context(ServerProcess(database=copy, env=environment)) for _ in range(2)]


@pytest.fixture(params=["one process", "two processes"])
def processes(request: pytest.FixtureRequest) -> list[ServerProcess]:
    """The first and another process; the same one where there is one."""
    if request.param == "one process":
        return [request.getfixturevalue("topics_server")] * 2
    return request.getfixturevalue("topics_servers")  # type: ignore[no-any-return]


@pytest.fixture
async def join() -> AsyncIterator[Connect]:
    """Connects a client to a process: ``await join(process, "/ws/topics")``."""
    async with contextlib.AsyncExitStack() as stack:

        async def connect(process: ServerProcess, path: str = "/ws/topics", **options: Any) -> TopicClient:
            return TopicClient(await stack.enter_async_context(await open_socket(process.ws(path), **options)))

        yield connect


@pytest.fixture
def topic() -> str:
    """The name of a topic that no other test uses."""
    return f"topic.{uuid.uuid4().hex[:12]}"
