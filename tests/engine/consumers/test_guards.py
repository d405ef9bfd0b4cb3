"""The options of ``@on_message`` and the hooks around handlers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from django.contrib.auth import get_user_model
from rest_framework.permissions import BasePermission, IsAuthenticated

from realtime.engine.consumers.consumer import PolicyConsumer
from realtime.engine.consumers.guards import Rate
from realtime.engine.consumers.handlers import on_message
from realtime.engine.protocol.errors import InvalidMessage, MessageRefused


class Ask(msgspec.Struct):
    value: str = ""


class Owns(BasePermission):
    message = "Only the owner may do that."

    def has_permission(self, request: Any, view: Any) -> bool:
        seen = (
            request.method,
            request.auth,
            request.data,
            view.action,
            view.kwargs,
            view.request is request,
            view.mark,
        )
        return seen == ("POST", None, Ask("a"), "ask", {"room": "lobby"}, True, "of the consumer")


class Refuses(BasePermission):
    def has_permission(self, request: Any, view: Any) -> bool:
        return False


async def later(consumer: Any, message: Ask) -> bool:
    return message.value == "a"


async def ask(connect: Any, consumer: PolicyConsumer, *messages: Ask) -> list[Any]:
    scope = {"url_route": {"args": (), "kwargs": {"room": "lobby"}}}
    connection = connect(consumer, **scope)
    for message in messages:
        text = json.dumps({"type": "Ask", "ref": "r", "value": message.value})
        connection.give("websocket.receive", text=text)
    events = await connection.until(len(messages) + 1)
    await connection.end()
    return [json.loads(event["text"]) for event in events[1:]]


def consumer_with(**options: Any) -> type[PolicyConsumer]:
    class Consumer(PolicyConsumer):
        mark = "of the consumer"

        @on_message(**options)
        async def ask(self, message: Ask) -> None: ...

    return Consumer


@pytest.mark.parametrize(
    ("permission", "detail"),
    [
        (lambda consumer, message: message.value == "a", None),
        (lambda consumer, message: False, "You may not do that."),
        (lambda consumer, message: consumer.user.is_authenticated, "You may not do that."),
        (later, None),
        (Owns, None),
        (Owns & Refuses, "You may not do that."),
        (Owns | Refuses, None),
        (~Refuses, None),
        (IsAuthenticated, "You may not do that."),
        (Refuses, "You may not do that."),
    ],
)
async def test_a_permission_is_a_callable_or_a_class_of_rest_framework(connect, permission, detail) -> None:
    [answer] = await ask(connect, consumer_with(permission=permission)(), Ask("a"))
    if detail is None:
        assert answer == {"type": "Ack", "ref": "r"}
    else:
        assert answer == {"type": "Error", "code": "forbidden", "detail": detail, "ref": "r"}


async def test_the_message_of_a_permission_class_is_the_detail(connect) -> None:
    [answer] = await ask(connect, consumer_with(permission=Owns)(), Ask("b"))
    assert answer["detail"] == "Only the owner may do that."


async def test_a_permission_sees_the_user_of_the_connection(connect) -> None:
    consumer = consumer_with(permission=IsAuthenticated)()

    async def connect_as_ann() -> None:
        consumer.user = get_user_model()()
        await consumer.accept()

    consumer.connect = connect_as_ann
    [answer] = await ask(connect, consumer, Ask("a"))
    assert answer["type"] == "Ack"


class ManualClock:
    """Time that stands, until the test sets it."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.scopes: list[asyncio.Timeout] = []

    def now(self) -> float:
        return self.time

    def timeout(self, seconds: float) -> asyncio.Timeout:
        self.scopes.append(asyncio.timeout(None))
        return self.scopes[-1]


@pytest.mark.parametrize(
    ("text", "count", "seconds"),
    [("5/s", 5, 1), ("5/sec", 5, 1), ("30/min", 30, 60), ("9/hour", 9, 3600), ("1/d", 1, 86400)],
)
def test_a_rate_is_in_the_notation_of_rest_framework(text, count, seconds) -> None:
    assert Rate.parse(text) == Rate(text, count, seconds)


async def test_a_message_over_the_rate_of_its_handler_is_refused_and_time_brings_it_back(connect) -> None:
    class Other(msgspec.Struct):
        pass

    class Consumer(PolicyConsumer):
        @on_message(rate="2/min")
        async def ask(self, message: Ask) -> None: ...

        @on_message(rate="1/min")
        async def other(self, message: Other) -> None: ...

    clock = ManualClock()
    connection = connect(Consumer(), clock=clock)

    async def answer(tag: str) -> str:
        connection.give("websocket.receive", text=json.dumps({"type": tag, "ref": "r"}))
        events = await connection.until(len(connection.sent) + 1)
        answer = json.loads(events[-1]["text"])
        return answer.get("code", answer["type"])

    await connection.until(1)
    assert [await answer("Ask") for _ in range(3)] == ["Ack", "Ack", "rate_limited"]
    assert [await answer("Other") for _ in range(2)] == ["Ack", "rate_limited"]
    clock.time += 29
    assert await answer("Ask") == "rate_limited"
    clock.time += 1
    assert [await answer("Ask") for _ in range(2)] == ["Ack", "rate_limited"]
    await connection.end()


async def test_a_handler_over_its_time_is_cancelled_and_answered_with_timeout(connect) -> None:
    started, cancelled = asyncio.Event(), []

    class Consumer(PolicyConsumer):
        @on_message(timeout=2.5)
        async def ask(self, message: Ask) -> None:
            if message.value == "own":
                raise TimeoutError("of the database")
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(message)
                raise

    clock = ManualClock()
    connection = connect(Consumer(), clock=clock)
    connection.give("websocket.receive", text='{"type":"Ask","ref":"r"}')
    await started.wait()
    clock.scopes[0].reschedule(asyncio.get_running_loop().time())
    answer = json.loads((await connection.until(2))[1]["text"])
    assert (answer["code"], answer["ref"]) == ("timeout", "r")
    assert "2.5 s" in answer["detail"]
    assert cancelled == [Ask()]
    connection.give("websocket.receive", text='{"type":"Ask","value":"own"}')
    with pytest.raises(TimeoutError, match="of the database"):
        await connection.task


async def test_without_a_clock_of_its_own_a_handler_has_that_of_the_event_loop(connect) -> None:
    class Consumer(PolicyConsumer):
        @on_message(timeout=0.001)
        async def ask(self, message: Ask) -> None:
            await asyncio.Event().wait()

    [answer] = await ask(connect, Consumer(), Ask())
    assert answer["code"] == "timeout"


class Hooked(PolicyConsumer):
    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Any] = []

    @on_message
    async def ask(self, message: Ask) -> Ask | None:
        self.steps.append("handler")
        match message.value:
            case "translate" | "boom":
                raise LookupError(message.value)
            case "refuse":
                raise MessageRefused("no", "No.")
            case "reply":
                return Ask("reply")
        return None

    async def before_message(self, message: Any) -> None:
        self.steps.append("before")
        if message.value == "never":
            raise MessageRefused("never", "Never.")

    async def after_message(self, message: Any, reply: Any) -> None:
        self.steps.append(("after", reply))

    async def on_message_error(self, message: Any, error: Exception) -> None:
        self.steps.append((message, type(error)))
        if isinstance(error, LookupError) and message.value == "translate":
            raise MessageRefused("unknown", "There is none.") from error


@pytest.mark.parametrize(
    ("value", "answer", "steps"),
    [
        ("", "Ack", ["before", "handler", ("after", None)]),
        ("reply", "Ask", ["before", "handler", ("after", Ask("reply"))]),
        ("refuse", "no", ["before", "handler", (Ask("refuse"), MessageRefused)]),
        ("never", "never", ["before", (Ask("never"), MessageRefused)]),
        ("translate", "unknown", ["before", "handler", (Ask("translate"), LookupError)]),
    ],
)
async def test_hooks_run_around_the_handler(connect, value, answer, steps) -> None:
    consumer = Hooked()
    [given] = await ask(connect, consumer, Ask(value))
    assert given.get("code", given["type"]) == answer
    assert given["ref"] == "r"
    assert consumer.steps == steps


async def test_the_error_hook_sees_what_cannot_be_decoded_and_what_ends_the_connection(connect) -> None:
    consumer = Hooked()
    connection = connect(consumer)
    connection.give("websocket.receive", text="{")
    connection.give("websocket.receive", text='{"type":"Ask","value":"boom"}')
    with pytest.raises(LookupError):
        await connection.task
    assert consumer.steps == [(None, InvalidMessage), "before", "handler", (Ask("boom"), LookupError)]
    assert [event.get("code") for event in connection.sent] == [None, None, 1011]
