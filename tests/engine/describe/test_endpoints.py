"""Endpoints read off their routes."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Annotated

import msgspec
import pytest
from channels.generic.websocket import AsyncWebsocketConsumer
from django.urls import path, re_path
from msgspec import Meta

from realtime.engine.consumers.consumer import PolicyConsumer
from realtime.engine.consumers.handlers import on_message
from realtime.engine.describe.asyncapi import asyncapi_document
from realtime.engine.describe.endpoints import describe_endpoints, policy_facts, policy_fields, policy_values
from realtime.engine.protocol.policy import MIB, SocketPolicy


class Query(msgspec.Struct):
    user_id: Annotated[int, Meta(examples=[7])]
    name: Annotated[str, Meta(examples=["ann"])]
    colour: str = "blue"


class Documented(AsyncWebsocketConsumer):
    """Says what it does.

    Says why,
    at length.

    And how.
    """

    policy = SocketPolicy(max_message_size=MIB)
    authentication = "required"
    query_type = Query


async def plain_application(scope, receive, send):
    """No consumer."""


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (path("ws", Documented.as_asgi()), "/ws"),
        (path("ws/", Documented.as_asgi()), "/ws"),
        (re_path(r"^ws/rooms/?$", Documented.as_asgi()), "/ws/rooms"),
        (path("ws/rooms/<str:room>/", Documented.as_asgi()), "/ws/rooms/{room}"),
        (path("ws/rooms/<room>", Documented.as_asgi()), "/ws/rooms/{room}"),
        (re_path(r"^ws/rooms/(?P<room>[^/]+)/?$", Documented.as_asgi()), "/ws/rooms/{room}"),
        (re_path(r"^ws/any-protocol/?\Z", Documented.as_asgi()), "/ws/any-protocol"),
    ],
)
def test_the_path_of_a_route_is_written_with_parameters_in_braces(route, expected):
    [endpoint] = describe_endpoints([route])
    assert endpoint.path == expected


def test_an_endpoint_is_described_by_its_consumer():
    [endpoint] = describe_endpoints([path("ws/things/<name>", Documented.as_asgi())])
    assert endpoint.slug == "ws-things-name"
    assert endpoint.summary == "Says what it does."
    assert endpoint.details == ("Says why, at length.", "And how.")
    assert endpoint.policy is Documented.policy
    assert endpoint.authentication == "required"
    assert endpoint.parameters == ["name"]
    assert endpoint.source == "tests/engine/describe/test_endpoints.py"


def test_query_parameters_come_from_the_struct_and_make_an_example():
    [endpoint] = describe_endpoints([path("ws", Documented.as_asgi())])
    assert [(item.name, item.required) for item in endpoint.query] == [
        ("user_id", True),
        ("name", True),
        ("colour", False),
    ]
    assert endpoint.example == "/ws?user_id=7&name=ann"


def test_two_routes_that_differ_in_a_slash_are_one_endpoint():
    routes = [path("ws", Documented.as_asgi()), path("ws/", Documented.as_asgi())]
    assert len(describe_endpoints(routes)) == 1


def test_an_application_that_is_no_consumer_is_left_out():
    assert describe_endpoints([path("ws", plain_application)]) == []


def test_a_consumer_without_a_docstring_is_no_error():
    undocumented = type("Undocumented", (AsyncWebsocketConsumer,), {"__doc__": None})
    [endpoint] = describe_endpoints([path("ws", undocumented.as_asgi())])
    assert (endpoint.summary, endpoint.details) == ("", ())


@pytest.mark.parametrize(
    ("policy", "field", "value", "changed"),
    [
        (SocketPolicy(max_message_size=MIB), "max_message_size", "1 MiB", True),
        (SocketPolicy(), "max_message_size", "64 MiB", False),
        (SocketPolicy(max_message_size=256 * 1024), "max_message_size", "256 KiB", True),
        (SocketPolicy(max_message_size=1500), "max_message_size", "1,500 bytes", True),
        (SocketPolicy(), "max_write_buffer_size", "none", False),
        (SocketPolicy(ping_interval=30), "ping_interval", "30 s", True),
        (SocketPolicy(subprotocols=("a", "b")), "subprotocols", "a, b", True),
        (SocketPolicy(compression=True), "compression", "yes", True),
        (SocketPolicy(max_messages_per_second=0.5), "max_messages_per_second", "0.5", True),
    ],
)
def test_a_policy_is_written_with_units(policy, field, value, changed):
    facts = {fact.field: fact for fact in policy_facts(policy)}
    assert (facts[field].value, facts[field].changed) == (value, changed)


def test_every_field_of_the_policy_is_explained():
    assert list(policy_fields()) == [field.name for field in dataclasses.fields(SocketPolicy)]
    assert all(text.endswith((".", ")")) for text in policy_fields().values())


def test_the_values_of_a_policy_can_be_written_as_json():
    def our_partners(origin, scope):
        return origin.endswith(".example.com")

    values = policy_values(SocketPolicy(allowed_origins=our_partners, subprotocols=("a",)))
    assert json.loads(json.dumps(values))["allowed_origins"] == "our_partners"
    assert values["max_message_size"] == 64 * MIB


class Vote(msgspec.Struct):
    """Choose an option."""

    choice: str


class Tally(msgspec.Struct, tag="tally"):
    """How many have chosen what."""

    votes: dict[str, int]
    last: Vote | None = None


class News(msgspec.Struct, rename="camel"):
    news_text: str
    tags: list[str] = msgspec.field(default_factory=lambda: ["new"])


class TypedConsumer(PolicyConsumer):
    server_messages = News

    @on_message
    async def vote(self, message: Vote) -> Tally | None: ...


class OtherVote(msgspec.Struct, tag="Vote"):
    number: int


class OtherConsumer(PolicyConsumer):
    @on_message
    async def vote(self, message: OtherVote) -> News: ...


def test_the_messages_of_an_endpoint_are_those_of_its_handlers():
    [endpoint] = describe_endpoints([path("ws", TypedConsumer.as_asgi())])
    assert {message.tag: message.example for message in endpoint.received} == {
        "Vote": {"type": "Vote", "choice": "text", "ref": "1"}
    }
    sent = {message.tag: message.example for message in endpoint.sent}
    assert sent["tally"] == {"type": "tally", "votes": {"name": 41}, "ref": "1"}
    assert sent["News"] == {"type": "News", "newsText": "text"}
    assert sent["Ack"] == {"type": "Ack", "ref": "1"}
    assert (sent["Error"]["type"], sent["Error"]["code"]) == ("Error", "invalid_message")
    assert endpoint.received[0].summary == "Choose an option."


def test_messages_of_one_name_have_a_schema_each():
    endpoints = describe_endpoints(
        [
            path("ws", TypedConsumer.as_asgi()),
            path("other", OtherConsumer.as_asgi()),
            path("again", TypedConsumer.as_asgi()),
        ]
    )
    document = asyncapi_document(endpoints, host="testserver", protocol="ws")
    schemas, messages = document["components"]["schemas"], document["components"]["messages"]
    # A vote within a tally is no message.
    assert set(schemas["VoteValue"]["properties"]) == {"choice"}
    assert set(schemas["Vote"]["properties"]) == {"type", "choice", "ref"}
    assert set(schemas["OtherVote"]["properties"]) == {"type", "number", "ref"}
    assert [messages[name]["name"] for name in ("Vote", "OtherVote")] == ["Vote", "Vote"]
    for reference in re.findall(r"#/components/(\w+)/(\w+)", json.dumps(document)):
        assert reference[1] in document["components"][reference[0]]
