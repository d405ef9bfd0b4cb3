"""Stock Channels: consumers and groups as in the Channels tutorial, without anything of this project.

Runs on Daphne as ``daphne benchmarks.servers.stock:application``. With ``REDIS_URL`` the channel layer is
``channels_redis.pubsub.RedisPubSubChannelLayer``, the faster of its two; without, Channels' in-memory layer.
"""

from __future__ import annotations

import os

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.servers.stock_settings"

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path

django.setup()


class Echo(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data, bytes_data=bytes_data)


class Chat(AsyncWebsocketConsumer):
    groups = ["chat"]

    async def receive(self, text_data=None, bytes_data=None):
        await self.channel_layer.group_send(
            "chat", {"type": "chat.message", "text": text_data, "sender": self.channel_name}
        )

    async def chat_message(self, event):
        if event["sender"] != self.channel_name:
            await self.send(text_data=event["text"])


application = ProtocolTypeRouter(
    {"websocket": URLRouter([path("ws", Echo.as_asgi()), path("ws/chat", Chat.as_asgi())])}
)
