"""How a connection ends: every step of it, whatever one of them raises, and who learns of an error."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import pytest
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from redis.exceptions import RedisError

from realtime.engine.connections.reporter import reporter
from realtime.engine.consumers.consumer import PolicyConsumer
from realtime.engine.testing import PROJECT_ROOT, ServerProcess
from realtime.engine.testing.client import open_socket

FANOUT = {"default": {"BACKEND": "realtime.engine.layer.FanoutChannelLayer"}}
IN_MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


@pytest.fixture(params=[FANOUT, IN_MEMORY], ids=["fan-out layer", "stock layer"])
def layer(request, settings) -> Any:
    settings.CHANNEL_LAYERS = request.param
    return get_channel_layer()


class Member(PolicyConsumer):
    """Is a member of ``room``, and says what becomes of it."""

    groups = ["room"]

    def __init__(self, steps: list[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = steps

    async def connect(self):
        await self.accept()
        self.steps.append("connect")

    async def disconnect(self, code):
        self.steps.append(code)


class FailsWhileCancelled(Member):
    async def room_event(self, event):
        self.steps.append("handling")
        await self.send("handling")
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("cannot clean up")


async def nobody_is_left(layer: Any) -> None:
    """Send to the group: what a member that was left behind would do is seen in its steps."""
    await layer.group_send("room", {"type": "room.event"})
    assert not reporter.connections


async def test_handler_that_fails_while_it_is_cancelled_leaves_no_ghost_of_its_connection(
    connect, layer, caplog
) -> None:
    steps: list[Any] = []
    connection = connect(FailsWhileCancelled.as_asgi(steps=steps))
    await connection.until(1)
    await layer.group_send("room", {"type": "room.event"})
    await connection.until(2)
    await connection.end(4001)
    assert steps == ["connect", "handling", 4001]
    await nobody_is_left(layer)
    assert steps == ["connect", "handling", 4001]
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "cannot clean up" in str(record.exc_info)


async def test_server_that_cancels_in_the_middle_of_the_end_leaves_no_ghost_of_the_connection(connect, layer) -> None:
    steps: list[Any] = []
    cancelled, never = asyncio.Event(), asyncio.Event()

    class TakesItsTime(Member):
        async def room_event(self, event):
            await self.send("handling")
            try:
                await never.wait()
            finally:
                cancelled.set()
                await never.wait()

    connection = connect(TakesItsTime.as_asgi(steps=steps))
    await connection.until(1)
    await layer.group_send("room", {"type": "room.event"})
    await connection.until(2)
    connection.give("websocket.disconnect", code=4001, reason="")
    await cancelled.wait()
    connection.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connection.task
    assert steps == ["connect", 4001]
    await nobody_is_left(layer)
    never.set()


async def test_group_that_cannot_be_left_does_not_keep_disconnect_from_running(connect, layer, monkeypatch) -> None:
    steps: list[Any] = []
    connection = connect(Member.as_asgi(steps=steps))
    await connection.until(1)

    async def away(group: str, channel: str) -> None:
        raise ConnectionError("the channel layer is away")

    with monkeypatch.context() as outage:
        outage.setattr(layer, "group_discard", away)
        with pytest.raises(ConnectionError, match="is away"):
            await connection.end(4001)
    assert steps == ["connect", 4001]
    assert not reporter.connections


class Failing(Member):
    async def receive(self, text_data=None, bytes_data=None):
        raise RuntimeError("boom")

    async def room_event(self, event):
        raise RuntimeError("boom")


class Deaf(Member):
    """A member of nothing: what is sent to its channel alone is what it hears."""

    groups = []


def recording(application: Any, seen: list[Any]) -> Any:
    """Wrap an application as Sentry and OpenTelemetry do: note what it raises, and raise it again."""

    async def middleware(scope, receive, send):
        try:
            await application(scope, receive, send)
        except Exception as error:
            seen.append(str(error))
            raise

    return middleware


async def test_error_of_a_handler_reaches_the_middleware_after_1011_and_disconnect(connect, layer) -> None:
    steps: list[Any] = []
    connection = connect(recording(Failing.as_asgi(steps=steps), steps))
    connection.give("websocket.receive", text="x")
    with pytest.raises(RuntimeError, match="boom"):
        await connection.task
    assert connection.sent[-1] == {"type": "websocket.close", "code": 1011, "reason": "internal error"}
    assert steps == ["connect", 1011, "boom"]
    assert not reporter.connections


async def test_error_of_a_channel_layer_handler_reaches_the_middleware_too(connect, layer) -> None:
    steps: list[Any] = []
    connection = connect(recording(Failing.as_asgi(steps=steps), steps))
    await connection.until(1)
    await layer.group_send("room", {"type": "room.event"})
    with pytest.raises(RuntimeError, match="boom"):
        await connection.task
    assert connection.sent[-1]["code"] == 1011
    assert steps == ["connect", 1011, "boom"]


async def test_layer_that_fails_to_receive_ends_the_connection_as_in_channels(connect, redis_server, settings) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [redis_server.url]}}
    }
    steps: list[Any] = []
    connection = connect(Deaf.as_asgi(steps=steps))
    await connection.until(1)
    redis_server.kill()
    with pytest.raises(RedisError):
        await connection.task
    assert connection.sent[-1]["code"] == 1011
    assert steps == ["connect", 1011]


async def test_error_before_the_accept_is_a_500_and_reaches_the_middleware(connect) -> None:
    seen: list[Any] = []

    class Unlucky(PolicyConsumer):
        async def handshake(self):
            raise RuntimeError("boom")

    connection = connect(recording(Unlucky.as_asgi(), seen))
    with pytest.raises(RuntimeError, match="boom"):
        await connection.task
    assert connection.sent[0]["status"] == 500
    assert seen == ["boom"]


async def test_error_of_disconnect_reaches_the_middleware(connect) -> None:
    seen: list[Any] = []

    class Rude(PolicyConsumer):
        async def disconnect(self, code):
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        await connect(recording(Rude.as_asgi(), seen)).end()
    assert seen == ["boom"]


async def test_communicator_raises_the_error_as_it_does_for_a_consumer_of_channels(layer) -> None:
    communicator = WebsocketCommunicator(Failing.as_asgi(steps=[]), "/ws")
    assert (await communicator.connect())[0]
    await communicator.send_to(text_data="x")
    with pytest.raises(RuntimeError, match="boom"):
        await communicator.receive_from()


FAILING = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
import django
django.setup()
import daphne.http_protocol, daphne.server
from realtime.engine.consumers.consumer import PolicyConsumer

class Failing(PolicyConsumer):
    async def receive_message(self, message):
        raise RuntimeError("on purpose")

failing = Failing.as_asgi()

async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await failing(scope, receive, send)

if os.environ.get("STOCK"):
    daphne.server.HTTPFactory = daphne.server.HTTPFactory.__base__
"""

DAPHNE = (sys.executable, "-m", "daphne", "-p", "{port}", "failing:application")
UVICORN = (sys.executable, "-m", "uvicorn", "--port", "{port}", "failing:application", "--ws")
SERVERS = {
    "daphne": (DAPHNE, {}),
    "daphne's own protocol": (DAPHNE, {"STOCK": "1"}),
    "uvicorn": ((*UVICORN, "realtime.engine.server.uvicorn:WebSocketProtocol"), {}),
    "uvicorn's own protocol": ((*UVICORN, "websockets-sansio"), {}),
}


@pytest.mark.parametrize(("command", "env"), SERVERS.values(), ids=SERVERS)
async def test_error_is_1011_and_logged_once_on_every_server(tmp_path, command, env) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    with ServerProcess(command, env={"PYTHONPATH": f"{tmp_path}:{PROJECT_ROOT}", **env}) as server:
        async with await open_socket(server.ws("/")) as client:
            await client.send("x")
            assert (await client.closed()).code == 1011
        server.stop()
        assert server.log.count("RuntimeError: on purpose") == 1, server.log
