"""The project's consumers, and some more, for servers without its wire."""

from __future__ import annotations

import asyncio
import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

import django

django.setup()

import daphne.server  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer  # noqa: E402
from django.urls import path  # noqa: E402

from realtime.engine.consumers.consumer import PolicyConsumer  # noqa: E402
from realtime.engine.handshake.router import SocketRouter  # noqa: E402
from tests.engine.routing import websocket_urlpatterns  # noqa: E402

if os.environ.get("STOCK_DAPHNE"):
    daphne.server.HTTPFactory = daphne.server.HTTPFactory.__base__

ENDS: asyncio.Queue[str] = asyncio.Queue()


class Closing(PolicyConsumer):
    """Refuses, without a word and with one."""

    async def connect(self) -> None:
        reason = self.scope["url_route"]["kwargs"].get("reason")
        await self.close(4001, reason)


class StockClosing(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.close(4001)


class StockSynchronous(WebsocketConsumer):
    def connect(self) -> None:
        self.close(4001)


class Leaving(PolicyConsumer):
    """Says why its client has gone."""

    async def disconnect(self, code: int) -> None:
        ENDS.put_nowait(f"{code} {self.close_reason}")


class Ends(PolicyConsumer):
    """Sends how a client of ``Leaving`` has gone."""

    async def connect(self) -> None:
        await self.accept()
        await self.send(await ENDS.get())


sockets = SocketRouter(
    [
        *websocket_urlpatterns,
        path("ws/closing", Closing.as_asgi()),
        path("ws/closing/<reason>", Closing.as_asgi()),
        path("ws/stock", StockClosing.as_asgi()),
        path("ws/synchronous", StockSynchronous.as_asgi()),
        path("ws/leaving", Leaving.as_asgi()),
        path("ws/ends", Ends.as_asgi()),
    ]
)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await sockets(scope, receive, send)
