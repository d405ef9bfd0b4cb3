"""The endpoints of the engine's tests, and a member that joins and leaves a group on request."""

from __future__ import annotations

from django.urls import path

from realtime.engine.consumers.consumer import PolicyConsumer
from tests.engine import routing


class Member(PolicyConsumer):
    """A member of ``group``: "join" and "leave" are commands, anything else is for the members."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        match text_data:
            case "join":
                await self.join("group")
            case "leave":
                await self.leave("group")
            case _:
                await self.broadcast("group", text=text_data, include_self=True)


websocket_urlpatterns = [*routing.websocket_urlpatterns, path("ws/member", Member.as_asgi())]
