"""Layers on each backend, and what tests wait for."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from realtime.engine.layer import FanoutChannelLayer, Subscription
from realtime.engine.protocol.messages import SharedMessage
from realtime.engine.testing import RedisProcess
from realtime.engine.testing.fixtures import start_redis
from tests.engine.sentinel import SentinelProcess

#: Seconds after which a test gives up waiting for something that should come at once.
TIMEOUT = 10


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisProcess]:
    """A Redis server for tests that leave it running; each test has a prefix of its own."""
    yield from start_redis()


@pytest.fixture(scope="session")
def shared_sentinel(shared_redis: RedisProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelProcess]:
    """A Sentinel that names the shared Redis."""
    sentinel = SentinelProcess(tmp_path_factory.mktemp("sentinel"), shared_redis)
    yield sentinel
    sentinel.kill()


@pytest.fixture
async def layers() -> AsyncIterator[Callable[..., FanoutChannelLayer]]:
    """Make layers, and close them after the test."""
    made: list[FanoutChannelLayer] = []

    def make(*args: Any, **options: Any) -> FanoutChannelLayer:
        made.append(FanoutChannelLayer(*args, **options))
        return made[-1]

    yield make
    for layer in made:
        await layer.close()


@pytest.fixture(params=["memory", "redis", "sentinel"])
def make_layer(
    request: pytest.FixtureRequest, layers: Callable[..., FanoutChannelLayer]
) -> Callable[..., FanoutChannelLayer]:
    """Make layers of one process each: in memory, on Redis, and on the Redis that a Sentinel names, in turn."""
    if request.param == "memory":
        return layers
    prefix = uuid.uuid4().hex
    if request.param == "sentinel":
        host = request.getfixturevalue("shared_sentinel").host
    else:
        host = request.getfixturevalue("shared_redis").url
    return lambda **options: layers([host], prefix=prefix, **options)


@pytest.fixture
def make_process(
    shared_redis: RedisProcess, layers: Callable[..., FanoutChannelLayer]
) -> Callable[..., FanoutChannelLayer]:
    """Make layers that share one Redis, as the processes of one project do."""
    prefix = uuid.uuid4().hex
    return lambda **options: layers([shared_redis.url], **{"prefix": prefix, **options})


class Consumer:
    """What an attached consumer does with its mail and its direct messages, and a way to wait for them."""

    def __init__(self, layer: FanoutChannelLayer, channel_name: str, **options: Any) -> None:
        self.layer = layer
        self.channel_name = channel_name
        self.loop = asyncio.get_running_loop()
        self.wakes = 0
        self.shared: list[SharedMessage] = []
        self.mail: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.frames: asyncio.Queue[SharedMessage] = asyncio.Queue()
        self.subscription: Subscription = layer.attach(channel_name, wake=self._wake, **options)

    def accept(self) -> Consumer:
        """Take ``websocket.send`` messages directly from now on."""
        self.subscription.direct = self._take
        return self

    async def next_mail(self) -> dict[str, Any]:
        async with asyncio.timeout(TIMEOUT):
            return await self.mail.get()

    async def next_frame(self) -> SharedMessage:
        async with asyncio.timeout(TIMEOUT):
            return await self.frames.get()

    def _wake(self) -> None:
        assert asyncio.get_running_loop() is self.loop
        self.wakes += 1
        while self.subscription:
            self.mail.put_nowait(self.subscription.get_nowait())

    def _take(self, message: SharedMessage) -> None:
        assert asyncio.get_running_loop() is self.loop
        self.shared.append(message)
        self.frames.put_nowait(message)


@pytest.fixture
def attach() -> Callable[..., Any]:
    """Attach a consumer to a layer, in some groups."""

    async def attach(layer: FanoutChannelLayer, *groups: str, **options: Any) -> Consumer:
        consumer = Consumer(layer, await layer.new_channel(), **options)
        for group in groups:
            await layer.group_add(group, consumer.channel_name)
        return consumer

    return attach


@pytest.fixture
def taken() -> Callable[..., Any]:
    """Take the next message of a channel; fails where none comes."""

    async def taken(layer: FanoutChannelLayer, channel: str) -> dict[str, Any]:
        async with asyncio.timeout(TIMEOUT):
            return await layer.receive(channel)

    return taken


@pytest.fixture
def until() -> Callable[..., Any]:
    """Wait until a condition holds that nothing announces, like a counter of the layer."""

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    return until
