"""Endpoints for the tests of the engine, which have to pass in a project that has deleted its own."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from django.conf import settings
from django.urls import path

from realtime.engine import (
    KIB,
    MIB,
    Authentication,
    CloseCode,
    HandshakeRejected,
    Message,
    PolicyConsumer,
    SocketPolicy,
    on_message,
)
from realtime.engine.auth.authentication import verify_access_token

#: The channel-layer group of ``/ws/chat``.
GROUP = "chat"


class EchoConsumer(PolicyConsumer):
    policy = SocketPolicy(max_message_size=16 * MIB, max_frame_size=16 * MIB, max_write_buffer_size=1 * MIB)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data, bytes_data)


class ConnectQuery(msgspec.Struct):
    user_id: Annotated[int, msgspec.Meta(ge=0)]
    name: str


class QueryConsumer(EchoConsumer):
    query_type = ConnectQuery


class AuthenticatedConsumer(EchoConsumer):
    authentication = Authentication.REQUIRED


class OptionalConsumer(PolicyConsumer):
    """Accepts anybody, and text alone."""

    policy = SocketPolicy(max_message_size=64 * KIB, max_frame_size=64 * KIB)
    authentication = Authentication.OPTIONAL

    async def receive_message(self, message: Message) -> None:
        if message.is_binary:
            await self.close(CloseCode.UNSUPPORTED_DATA, "binary message on a JSON endpoint")
        else:
            await self.send_message(message)


class SignInConsumer(PolicyConsumer):
    """Takes the user of each token that it gets, and says how that went."""

    policy = SocketPolicy(max_message_size=64 * KIB, max_frame_size=64 * KIB)
    authentication = Authentication.OPTIONAL

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        verified = await verify_access_token(text_data or "")
        try:
            await self.sign_in(verified.user, verified.generation)
            await self.send("signed in")
        except HandshakeRejected as refusal:
            await self.send(str(refusal.status))


class ChatConsumer(PolicyConsumer):
    policy = SocketPolicy(max_message_size=64 * KIB, max_frame_size=64 * KIB, max_write_buffer_size=1 * MIB)

    async def connect(self) -> None:
        self.number = await self.channel_layer.next_number("chat.users")
        await self.join(GROUP)
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data is not None:
            await self.broadcast(GROUP, text=f"<User#{self.number}>: {text_data}")


class HeartbeatConsumer(EchoConsumer):
    policy = SocketPolicy(
        max_message_size=64 * KIB,
        max_frame_size=64 * KIB,
        ping_interval=settings.REALTIME_HEARTBEAT_INTERVAL,
        ping_timeout=settings.REALTIME_HEARTBEAT_TIMEOUT,
    )


class LimitedConsumer(EchoConsumer):
    policy = SocketPolicy(
        subprotocols=("graphql-ws", "graphql-transport-ws"),
        max_message_size=1 * MIB,
        max_frame_size=256 * KIB,
        write_buffer_size=128 * KIB,
        max_write_buffer_size=None,
        accept_unmasked_frames=False,
    )


class AnyProtocolConsumer(EchoConsumer):
    policy = SocketPolicy(accept_any_subprotocol=True, max_message_size=1 * MIB, max_frame_size=1 * MIB)


class Vote(msgspec.Struct):
    choice: str


class Tally(msgspec.Struct):
    votes: dict[str, int]


class Slow(msgspec.Struct):
    pass


class PollConsumer(PolicyConsumer):
    """Counts the votes of one connection, and shows them to its group."""

    policy = SocketPolicy(max_message_size=4 * KIB, subprotocols=("json", "msgpack"))
    authentication = Authentication.OPTIONAL
    groups = ["poll"]
    server_messages = Tally

    def __init__(self) -> None:
        super().__init__()
        self.votes: dict[str, int] = {}

    @on_message
    async def vote(self, message: Vote) -> Tally:
        if message.choice == "boom":
            raise LookupError("on purpose")
        self.votes[message.choice] = self.votes.get(message.choice, 0) + 1
        await self.broadcast_typed("poll", Tally(self.votes))
        return Tally(self.votes)

    @on_message(rate="1/min", timeout=5, permission=lambda consumer, message: consumer.user.is_authenticated)
    async def slow(self, message: Slow) -> None:
        await asyncio.Event().wait()


class FailingConsumer(PolicyConsumer):
    policy = SocketPolicy(max_message_size=64 * KIB, max_frame_size=64 * KIB)

    async def receive_message(self, message: Message) -> None:
        raise RuntimeError("on purpose")


websocket_urlpatterns = [
    path("ws", EchoConsumer.as_asgi()),
    path("ws/connect", QueryConsumer.as_asgi()),
    path("ws/auth", AuthenticatedConsumer.as_asgi()),
    path("ws/sign-in", SignInConsumer.as_asgi()),
    path("ws/chat", ChatConsumer.as_asgi()),
    path("ws/rooms", OptionalConsumer.as_asgi()),
    path("ws/rooms/<slug:room>", OptionalConsumer.as_asgi()),
    path("ws/heartbeat", HeartbeatConsumer.as_asgi()),
    path("ws/policy", LimitedConsumer.as_asgi()),
    path("ws/any-protocol", AnyProtocolConsumer.as_asgi()),
    path("ws/poll", PollConsumer.as_asgi()),
    path("ws/poll/<slug:name>", PollConsumer.as_asgi()),
    path("ws/failing", FailingConsumer.as_asgi()),
]
