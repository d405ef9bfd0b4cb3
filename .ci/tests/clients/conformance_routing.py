"""The rooms, and an endpoint with typed messages whose handlers do what the conformance script asks for."""

from __future__ import annotations

import asyncio
from collections import Counter

from django.urls import path
from msgspec import Struct

from realtime.endpoints.rooms import RoomsConsumer
from realtime.engine import Authentication, MessageRefused, PolicyConsumer, SocketPolicy, on_message

GROUP = "poll"


class Vote(Struct):
    """Vote for one of the choices."""

    choice: str


class Tally(Struct):
    """How often each choice was voted for on this connection."""

    votes: dict[str, int]


class Wait(Struct):
    """Wait for longer than any client does."""


class Announce(Struct):
    """Send news to everybody."""

    text: str


class News(Struct):
    """What somebody has announced."""

    text: str
    urgent: bool = False


class CloseWith(Struct):
    """Have the connection closed."""

    code: int


class WhoAmI(Struct):
    """Ask for the user of the connection."""


class You(Struct):
    """The user of the connection; empty for an anonymous one."""

    name: str


class PollConsumer(PolicyConsumer):
    """Counts votes, and does what a test asks for."""

    policy = SocketPolicy(max_message_size=64 * 1024, subprotocols=("json",))
    authentication = Authentication.OPTIONAL
    server_messages = News

    async def connect(self) -> None:
        self.votes: Counter[str] = Counter()
        await self.join(GROUP)
        await self.accept()

    @on_message
    async def vote(self, message: Vote) -> Tally:
        if not message.choice:
            raise MessageRefused("no_choice", "Choose something.")
        self.votes[message.choice] += 1
        return Tally(dict(self.votes))

    @on_message(timeout=2)
    async def wait(self, message: Wait) -> None:
        await asyncio.Event().wait()

    @on_message
    async def announce(self, message: Announce) -> None:
        await self.broadcast_typed(GROUP, News(message.text), include_self=True)

    @on_message
    async def close_with(self, message: CloseWith) -> None:
        await self.close(message.code, "as asked")

    @on_message
    async def who_am_i(self, message: WhoAmI) -> You:
        return You(self.user.get_username())


websocket_urlpatterns = [
    path("ws/poll", PollConsumer.as_asgi()),
    path("ws/rooms", RoomsConsumer.as_asgi()),
    path("ws/rooms/<room>", RoomsConsumer.as_asgi()),
]
