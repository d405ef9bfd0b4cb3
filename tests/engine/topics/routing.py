"""Endpoints with topics: the example of the documents on each store, and one that does what a test says."""

from __future__ import annotations

from typing import Any

import msgspec
from asgiref.sync import sync_to_async
from django.urls import path

from realtime.engine import DatabaseStore, Message, MessageRefused, Position, TopicConsumer, publish, recheck_topic
from realtime.engine.topics.models import Topic
from tests.engine import routing
from tests.engine.topics.board import BoardConsumer

STORE = DatabaseStore()

#: Topics that nobody may be in any more. In memory: for tests with one process.
CLOSED: set[str] = set()


class StoredBoardConsumer(BoardConsumer):
    topic_store = DatabaseStore(keep=500)


class TopicsConsumer(TopicConsumer):
    """Performs ``[method, arguments]``, a call of ``self.topics`` or of a method here; answers what it returned."""

    authentication = "optional"
    topic_store = STORE

    async def authorize_topic(self, topic: str) -> None:
        if topic in CLOSED or "closed" in topic:
            raise MessageRefused("forbidden", "This topic is closed.")

    async def receive_message(self, message: Message) -> None:
        name, arguments = msgspec.json.decode(message.payload)
        if "since" in arguments:
            arguments["since"] = Position(**arguments["since"])
        try:
            answer = await getattr(self if hasattr(self, name) else self.topics, name)(**arguments)
        except (MessageRefused, ValueError, KeyError, RuntimeError) as error:
            answer = [type(error).__name__, getattr(error, "code", ""), getattr(error, "detail", "")]
        await self.send_message(Message.text(msgspec.json.encode(["answer", answer], enc_hook=str).decode()))

    async def close_topic(self, topic: str) -> None:
        CLOSED.add(topic)
        await sync_to_async(recheck_topic)(topic, store=self.topic_store)

    async def publish_from_a_view(self, topic: str, data: Any) -> None:
        await sync_to_async(publish)(topic, data, store=self.topic_store)

    async def forget(self, topic: str) -> None:
        await Topic.objects.filter(name=topic).adelete()


class LiveConsumer(TopicsConsumer):
    topic_store = None


websocket_urlpatterns = [
    *routing.websocket_urlpatterns,
    path("ws/board", BoardConsumer.as_asgi()),
    path("ws/stored-board", StoredBoardConsumer.as_asgi()),
    path("ws/topics", TopicsConsumer.as_asgi()),
    path("ws/live", LiveConsumer.as_asgi()),
]
