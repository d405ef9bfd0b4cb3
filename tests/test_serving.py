"""How a connection ends: every step of it, whatever one of them raises."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from channels.layers import get_channel_layer

from realtime.consumers import PolicyConsumer
from realtime.live.registry import registry

FANOUT = {"default": {"BACKEND": "realtime.layers.FanoutChannelLayer"}}
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
    assert not registry.connections


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
    assert not registry.connections
