"""The project's endpoints, and an echo of the same message as a struct and as it is."""

from __future__ import annotations

import msgspec
from django.urls import path

from realtime.engine import KIB, Message, PolicyConsumer, SocketPolicy, on_message
from realtime.routing import websocket_urlpatterns as project_urlpatterns


class Say(msgspec.Struct):
    text: str


class TypedEcho(PolicyConsumer):
    policy = SocketPolicy(max_message_size=64 * KIB)

    @on_message
    async def say(self, message: Say) -> Say:
        return message


class PlainEcho(PolicyConsumer):
    policy = SocketPolicy(max_message_size=64 * KIB)

    async def receive_message(self, message: Message) -> None:
        await self.send_message(message)


websocket_urlpatterns = [
    *project_urlpatterns,
    path("ws/typed", TypedEcho.as_asgi()),
    path("ws/plain", PlainEcho.as_asgi()),
]
