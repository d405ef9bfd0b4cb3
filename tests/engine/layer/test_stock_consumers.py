"""Consumers of plain Channels on this layer, unchanged."""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import async_to_sync
from channels.consumer import AsyncConsumer
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.layers import channel_layers
from channels.testing import WebsocketCommunicator
from channels.worker import Worker


class AsyncChat(AsyncWebsocketConsumer):
    groups = ["chat"]

    async def receive(self, text_data=None, bytes_data=None):
        await self.channel_layer.group_send("chat", {"type": "chat.message", "text": text_data})

    async def chat_message(self, event):
        await self.send(text_data=event["text"])


class SyncChat(WebsocketConsumer):
    groups = ["chat"]

    def receive(self, text_data=None, bytes_data=None):
        async_to_sync(self.channel_layer.group_send)("chat", {"type": "chat.message", "text": text_data})

    def chat_message(self, event):
        self.send(text_data=event["text"])


@pytest.fixture
def layer(make_layer):
    layer = make_layer()
    channel_layers.set("default", layer)
    return layer


async def connected(consumer):
    communicator = WebsocketCommunicator(consumer.as_asgi(), "/")
    assert (await communicator.connect(timeout=10))[0]
    return communicator


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("consumers", [(AsyncChat, AsyncChat), (SyncChat, SyncChat), (AsyncChat, SyncChat)])
async def test_stock_consumers_hear_each_other_in_order(layer, consumers):
    first, second = [await connected(consumer) for consumer in consumers]
    for text in ("one", "two", "three"):
        await first.send_to(text_data=text)
        assert await first.receive_from(timeout=10) == text
    assert [await second.receive_from(timeout=10) for _ in range(3)] == ["one", "two", "three"]
    await first.disconnect(timeout=10)
    await second.disconnect(timeout=10)
    assert layer.local.groups() == []


@pytest.mark.django_db(transaction=True)
async def test_a_consumer_that_forgets_to_leave_is_taken_out_of_its_groups(make_layer):
    layer = make_layer(expiry=0.05)
    channel_layers.set("default", layer)

    class Forgetful(AsyncWebsocketConsumer):
        async def connect(self):
            await self.channel_layer.group_add("chat", self.channel_name)
            await self.accept()

    communicator = await connected(Forgetful)
    assert layer.local.groups() == ["chat"]
    await communicator.disconnect(timeout=10)

    await asyncio.sleep(0.1)  # longer than the expiry, by the real clock
    await layer.group_send("elsewhere", {"type": "mark"})
    assert layer.local.groups() == []


@pytest.mark.django_db(transaction=True)
async def test_runworker_gets_the_work_of_its_channel(layer):
    done: asyncio.Queue[int] = asyncio.Queue()

    class Thumbnails(AsyncConsumer):
        async def make(self, message):
            done.put_nowait(message["id"])

    before = asyncio.all_tasks()
    worker = asyncio.create_task(Worker(Thumbnails.as_asgi(), ["thumbnails"], layer).handle())
    for number in range(3):
        await layer.send("thumbnails", {"type": "make", "id": number})
    async with asyncio.timeout(10):
        assert [await done.get() for _ in range(3)] == [0, 1, 2]
    # A worker has no end of its own. What belongs to the layer ends with the layer.
    others = {task for task in asyncio.all_tasks() - before if not task.get_name().startswith("realtime-layer")}
    assert worker in others
    for task in others:
        task.cancel()
    await asyncio.wait(others)
