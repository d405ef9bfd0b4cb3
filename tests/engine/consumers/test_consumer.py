from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest
from channels.exceptions import AcceptConnection, DenyConnection, StopConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.db import OperationalError

from realtime.engine.consumers.consumer import PolicyConsumer
from realtime.engine.monitoring.logs import CONNECTION_ID
from realtime.engine.protocol.errors import HandshakeRejected
from realtime.engine.protocol.messages import Message, SharedMessage
from realtime.engine.protocol.policy import SocketPolicy

IN_MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
FANOUT = {"default": {"BACKEND": "realtime.engine.layer.FanoutChannelLayer"}}


@pytest.fixture(params=[FANOUT, IN_MEMORY, {}], ids=["fan-out layer", "stock layer", "no layer"])
def any_layer(request, settings) -> None:
    settings.CHANNEL_LAYERS = request.param


@pytest.fixture(params=[FANOUT, IN_MEMORY], ids=["fan-out layer", "stock layer"])
def layer(request, settings) -> Any:
    settings.CHANNEL_LAYERS = request.param
    return get_channel_layer()


class Echo(PolicyConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data, bytes_data)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


async def test_a_consumer_accepts_with_its_policy_and_echoes(connect, any_layer) -> None:
    connection = connect(Echo.as_asgi())
    connection.give("websocket.receive", text="hi")
    connection.give("websocket.receive", bytes=b"")
    connection.give("websocket.receive", text="")
    accept, *echoes = await connection.until(4)
    assert accept["type"] == "websocket.accept"
    assert accept["policy"] == Echo.policy.for_wire()
    assert [(echo.get("text"), echo.get("bytes")) for echo in echoes] == [("hi", None), (None, b""), ("", None)]
    await connection.end()


async def test_receive_message_gets_messages(connect) -> None:
    received = []

    class Consumer(PolicyConsumer):
        async def receive_message(self, message):
            received.append(message)

    connection = connect(Consumer.as_asgi())
    connection.give("websocket.receive", text="a", bytes=None)
    connection.give("websocket.receive", text=None, bytes=b"b")
    await connection.end()
    assert received == [Message.text("a"), Message.binary(b"b")]


SENT = [
    (Message.text("t"), {"type": "websocket.send", "text": "t"}),
    (Message.binary(b""), {"type": "websocket.send", "bytes": b""}),
    (Message.ping(b"p"), {"type": "websocket.ping", "bytes": b"p"}),
    (Message.close(), {"type": "websocket.close", "code": 1000, "reason": ""}),
    (Message.close_with(4000, "why"), {"type": "websocket.close", "code": 4000, "reason": "why"}),
]


@pytest.mark.parametrize(("message", "event"), SENT)
async def test_send_message_sends_the_event_of_each_kind(connect, message, event) -> None:
    class Consumer(PolicyConsumer):
        async def receive_message(self, received):
            await self.send_message(message)

    connection = connect(Consumer.as_asgi())
    connection.give("websocket.receive", text="go")
    assert (await connection.end())[1:] == [event]


async def test_a_json_consumer_of_channels_gains_a_policy_by_its_base_class(connect) -> None:
    class Consumer(PolicyConsumer, AsyncJsonWebsocketConsumer):
        async def receive_json(self, content):
            await self.send_json({"got": content})

    connection = connect(Consumer.as_asgi())
    connection.give("websocket.receive", text='{"a": 1}')
    assert (await connection.end())[1]["text"] == '{"got": {"a": 1}}'


@pytest.mark.parametrize(
    ("raised", "sent"), [(AcceptConnection, "websocket.accept"), (DenyConnection, "websocket.close")]
)
async def test_connect_may_raise_what_channels_documents(connect, raised, sent) -> None:
    class Consumer(PolicyConsumer):
        async def connect(self):
            raise raised

    assert kinds(await connect(Consumer.as_asgi()).end()) == [sent]


async def test_handshake_decides_before_connect_with_query_and_user_at_hand(connect) -> None:
    steps = []

    class Query(msgspec.Struct):
        name: str

    class Consumer(PolicyConsumer):
        query_type = Query

        async def handshake(self):
            steps.append(("handshake", self.query.name, self.user.is_anonymous))
            if self.query.name == "mallory":
                raise HandshakeRejected(403, "Not you.")

        async def connect(self):
            steps.append("connect")
            await self.accept()

        async def disconnect(self, code):
            steps.append("disconnect")

    assert kinds(await connect(Consumer.as_asgi(), query_string=b"name=ann").end()) == ["websocket.accept"]
    assert steps == [("handshake", "ann", True), "connect", "disconnect"]
    steps.clear()
    refused = connect(Consumer.as_asgi(), query_string=b"name=mallory")
    await refused.task
    assert refused.sent[0]["status"] == 403
    assert steps == [("handshake", "mallory", True)]


async def test_the_policy_selects_the_subprotocol(connect) -> None:
    class Consumer(PolicyConsumer):
        policy = SocketPolicy(subprotocols=("a", "b"))

    headers = [(b"host", b"testserver"), (b"sec-websocket-protocol", b"c, b"), (b"sec-websocket-protocol", b"a")]
    [accept] = await connect(Consumer.as_asgi(), headers=headers).end()
    assert accept["subprotocol"] == "b"


async def test_communicator_offers_subprotocols() -> None:
    class Consumer(PolicyConsumer):
        policy = SocketPolicy(subprotocols=("a", "b"))

    communicator = WebsocketCommunicator(Consumer.as_asgi(), "/ws", subprotocols=["c", "b", "a"])
    assert await communicator.connect() == (True, "b")
    await communicator.disconnect()


async def test_disconnect_runs_when_the_server_cancels_the_application(connect, any_layer) -> None:
    codes, started = [], asyncio.Event()

    class Consumer(PolicyConsumer):
        async def receive(self, text_data=None, bytes_data=None):
            started.set()
            await asyncio.Event().wait()

        async def disconnect(self, code):
            codes.append(code)

    connection = connect(Consumer.as_asgi())
    connection.give("websocket.receive", text="x")
    await started.wait()
    connection.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connection.task
    assert codes == [1006]


async def test_disconnect_gets_the_code_of_the_peer(connect) -> None:
    codes = []

    class Consumer(PolicyConsumer):
        async def disconnect(self, code):
            codes.append(code)

    await connect(Consumer.as_asgi()).end(4001)
    assert codes == [4001]


async def test_more_messages_than_the_rate_are_closed_with_1008(connect) -> None:
    class Consumer(Echo):
        policy = SocketPolicy(max_messages_per_second=2)

    connection = connect(Consumer.as_asgi())
    for _ in range(3):
        connection.give("websocket.receive", text="x")
    events = await connection.end()
    assert kinds(events) == ["websocket.accept", "websocket.send", "websocket.send", "websocket.close"]
    assert events[-1]["code"] == 1008


@pytest.mark.parametrize(("text", "code"), [("x" * 10, None), ("x" * 11, 1009), ("é" * 5, None), ("é" * 6, 1009)])
async def test_without_the_extension_the_consumer_checks_the_size_itself(connect, text, code) -> None:
    class Consumer(Echo):
        policy = SocketPolicy(max_message_size=10)

    connection = connect(Consumer.as_asgi(), extensions={})
    connection.give("websocket.receive", text=text)
    answer = (await connection.end())[-1]
    assert answer.get("code") == code


async def test_without_the_extension_there_is_no_ping_and_no_policy_in_the_accept(connect) -> None:
    class Consumer(PolicyConsumer):
        async def receive(self, text_data=None, bytes_data=None):
            await self.ping()

    connection = connect(Consumer.as_asgi(), extensions={})
    connection.give("websocket.receive", text="x")
    [accept] = await connection.end()
    assert "policy" not in accept


async def test_a_pong_reaches_on_pong_with_its_latency(connect) -> None:
    latencies = []

    class Consumer(PolicyConsumer):
        async def on_pong(self, latency):
            latencies.append(latency)

    connection = connect(Consumer.as_asgi())
    connection.give("websocket.pong", bytes=b"", latency=0.25)
    await connection.end()
    assert latencies == [0.25]


class Room(Echo):
    groups = ["room"]

    async def room_event(self, event):
        await self.send(f"event {event['n']}")

    async def room_stop(self, event):
        raise StopConsumer


async def test_a_group_message_reaches_its_handler(connect, layer) -> None:
    connection = connect(Room.as_asgi())
    await connection.until(1)
    await layer.group_send("room", {"type": "room.event", "n": 7})
    assert (await connection.until(2))[1]["text"] == "event 7"
    await connection.end()


async def test_after_the_end_nothing_is_left_in_the_groups(connect, layer) -> None:
    connection = connect(Room.as_asgi())
    await connection.until(1)
    await connection.end()
    await layer.group_send("room", {"type": "room.event", "n": 7})
    assert kinds(connection.sent) == ["websocket.accept"]


async def test_stop_consumer_in_a_group_handler_ends_the_application(connect, layer) -> None:
    connection = connect(Room.as_asgi())
    await connection.until(1)
    await layer.group_send("room", {"type": "room.stop"})
    await connection.task
    assert kinds(connection.sent) == ["websocket.accept"]


async def test_a_group_message_without_a_handler_names_the_method_to_define(connect, layer) -> None:
    connection = connect(Room.as_asgi())
    await connection.until(1)
    await layer.group_send("room", {"type": "room.unheard_of"})
    with pytest.raises(ValueError, match=r"async def room_unheard_of\(self, event\)"):
        await connection.task


async def test_handlers_take_turns(connect, layer) -> None:
    steps, release = [], asyncio.Event()

    class Consumer(PolicyConsumer):
        groups = ["room"]

        async def receive(self, text_data=None, bytes_data=None):
            steps.append("client begins")
            await self.send("begun")
            await release.wait()
            steps.append("client ends")

        async def room_event(self, event):
            steps.append("group")
            await self.send("handled")

    connection = connect(Consumer.as_asgi())
    await connection.until(1)
    connection.give("websocket.receive", text="x")
    await connection.until(2)
    await layer.group_send("room", {"type": "room.event"})
    connection.give("websocket.receive", text="y")
    release.set()
    await connection.until(4)
    await connection.end()
    assert sorted(steps) == ["client begins"] * 2 + ["client ends"] * 2 + ["group"]
    assert [step for step in steps if step != "group"] == ["client begins", "client ends"] * 2
    assert steps[steps.index("group") - 1] == "client ends"


async def test_a_broadcast_goes_straight_to_the_connection_and_not_back_to_its_sender(connect, settings) -> None:
    settings.CHANNEL_LAYERS = FANOUT

    class Chat(PolicyConsumer):
        groups = ["chat"]

        async def receive(self, text_data=None, bytes_data=None):
            await self.broadcast("chat", text=text_data)

    sender, reader = connect(Chat.as_asgi()), connect(Chat.as_asgi())
    await sender.until(1)
    await reader.until(1)
    sender.give("websocket.receive", text="hi")
    await sender.end()
    await reader.end()
    assert [message.text for message in reader.shared] == ["hi"]
    assert sender.shared == []
    assert kinds(reader.sent) == ["websocket.accept"]


async def test_on_a_stock_layer_a_broadcast_is_sent_and_not_back_to_its_sender(connect, settings) -> None:
    settings.CHANNEL_LAYERS = IN_MEMORY

    class Chat(PolicyConsumer):
        groups = ["chat"]

        async def receive(self, text_data=None, bytes_data=None):
            await self.broadcast("chat", text=text_data)
            await self.broadcast("chat", text="to all", include_self=True)

    sender, reader = connect(Chat.as_asgi()), connect(Chat.as_asgi())
    await sender.until(1)
    await reader.until(1)
    sender.give("websocket.receive", text="hi")
    assert [event["text"] for event in (await reader.until(3))[1:]] == ["hi", "to all"]
    assert [event["text"] for event in (await sender.until(2))[1:]] == ["to all"]
    await sender.end()
    await reader.end()


async def test_what_comes_before_the_accept_is_sent_after_it_in_order(connect, settings) -> None:
    settings.CHANNEL_LAYERS = FANOUT
    joined, go = asyncio.Event(), asyncio.Event()

    class Consumer(PolicyConsumer):
        async def connect(self):
            await self.join("room")
            joined.set()
            await go.wait()
            await self.accept()

    connection = connect(Consumer.as_asgi())
    await joined.wait()
    layer = get_channel_layer()
    await layer.group_send("room", {"type": "websocket.send", "text": "1"})
    await layer.group_send("room", {"type": "websocket.send", "text": "2"})
    go.set()
    events = await connection.until(3)
    assert [event.get("text") for event in events] == [None, "1", "2"]
    await layer.group_send("room", {"type": "websocket.send", "text": "3"})
    await connection.end()
    assert [message.text for message in connection.shared] == ["3"]


async def test_send_nowait_without_the_extension_is_bounded(connect) -> None:
    class Consumer(PolicyConsumer):
        async def receive(self, text_data=None, bytes_data=None):
            for number in range(int(text_data)):
                self.send_nowait(SharedMessage(text=str(number)))

    connection = connect(Consumer.as_asgi(), extensions={})
    connection.give("websocket.receive", text="3")
    assert [event.get("text") for event in await connection.until(4)] == [None, "0", "1", "2"]
    connection.give("websocket.receive", text="2000")
    events = await connection.until(5)
    await connection.end()
    assert [event.get("code") for event in events[4:]] == [1013]


async def test_an_expired_identity_is_closed_with_3000(connect) -> None:
    class Consumer(PolicyConsumer):
        async def connect(self):
            await self.accept()
            self.expire_at(time.time() + 3600)
            self.expire_at(time.time() - 1)

    connection = connect(Consumer.as_asgi())
    events = await connection.until(2)
    assert events[1] == {"type": "websocket.close", "code": 3000, "reason": "the access token has expired"}
    await connection.end()


async def test_a_revoked_connection_is_closed_with_3003(connect, layer) -> None:
    connection = connect(Room.as_asgi())
    await connection.until(1)
    await layer.group_send("room", {"type": "connection.revoked", "reason": "account deactivated"})
    events = await connection.until(2)
    assert events[1] == {"type": "websocket.close", "code": 3003, "reason": "account deactivated"}
    await connection.end()


async def test_client_messages_cost_neither_a_thread_nor_a_task(connect, layer, monkeypatch) -> None:
    connection = connect(Echo.as_asgi())
    await connection.until(1)
    await asyncio.sleep(0)
    tasks = asyncio.all_tasks()
    started = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "run_in_executor", lambda *args: started.append(args))
    loop.set_task_factory(lambda loop, work, **kwargs: started.append(work) or asyncio.Task(work, loop=loop, **kwargs))
    for number in range(10):
        connection.give("websocket.receive", text=str(number))
    await connection.until(11)
    loop.set_task_factory(None)
    assert started == []
    assert asyncio.all_tasks() == tasks
    await connection.end()


async def test_an_outage_before_the_accept_is_a_503_that_says_when_to_come_back(connect, caplog) -> None:
    class Consumer(PolicyConsumer):
        async def handshake(self):
            raise OperationalError("the database is away")

    connection = connect(Consumer.as_asgi())
    await connection.task
    assert connection.sent[0]["status"] == 503
    assert (b"retry-after", b"5") in connection.sent[0]["headers"]
    assert b"database" not in connection.sent[1]["body"]
    assert "the database is away" in caplog.text


async def test_mail_is_handled_as_its_receiver_and_not_as_its_sender(connect, channel_layer):
    channel = asyncio.Future()
    handled = asyncio.Future()

    class Receiver(PolicyConsumer):
        async def connect(self):
            await self.accept()
            channel.set_result(self.channel_name)

        async def some_mail(self, event):
            handled.set_result(CONNECTION_ID.get())

    CONNECTION_ID.set("receiver")
    connection = connect(Receiver.as_asgi())
    name = await channel
    CONNECTION_ID.set("sender")
    await channel_layer.send(name, {"type": "some.mail"})
    assert await handled == "receiver"
    await connection.end()
