"""What the consoles offer to try."""

from __future__ import annotations

import json

import pytest
from django.urls import path

from realtime.console.consumers import MonitorConsumer
from realtime.console.examples import console_data
from realtime.endpoints.authenticated import AuthenticatedConsumer
from realtime.endpoints.echo import EchoConsumer
from realtime.endpoints.query import QueryConsumer
from realtime.engine.describe.endpoints import describe_endpoints
from realtime.engine.protocol.policy import MIB, SocketPolicy


def presets(consumer: type) -> dict[str, dict]:
    [endpoint] = describe_endpoints([path("ws/x", consumer.as_asgi())])
    found = console_data(endpoint)["presets"]
    assert len({preset["label"] for preset in found}) == len(found)
    return {preset["label"]: preset.get("send", preset.get("connect")) for preset in found}


def with_policy(**fields: object) -> type:
    return type("Limited", (EchoConsumer,), {"policy": SocketPolicy(**fields)})


def test_the_largest_message_is_tried_and_one_byte_more():
    found = presets(with_policy(max_message_size=1000, max_frame_size=10))
    assert found["Largest message"] == {"size": 1000}
    assert found["One byte too large"] == {"size": 1001}


@pytest.mark.parametrize("size", [None, 64 * MIB])
def test_a_size_that_would_choke_the_page_is_not_tried(size):
    assert "Largest message" not in presets(with_policy(max_message_size=size, max_frame_size=size))


def test_a_rate_is_tried_with_more_than_two_seconds_worth():
    assert presets(with_policy(max_messages_per_second=2.5))["26 messages at once"] == {"text": "burst", "times": 26}


def test_subprotocols_are_tried_in_another_order_and_without_an_overlap():
    found = presets(with_policy(subprotocols=("a", "b")))
    assert found["Subprotocols in another order"] == {"protocols": ["b", "a"]}
    assert found["Unknown subprotocol"] == {"protocols": ["unknown"]}


def test_query_parameters_are_left_out_and_malformed():
    found = presets(QueryConsumer)
    assert found["Without user_id"] == {"address": "/ws/x?name=ann"}
    assert found["Without name"] == {"address": "/ws/x?user_id=7"}
    assert found["user_id is no number"] == {"address": "/ws/x?user_id=seven&name=ann"}
    assert "name is no number" not in found


def test_an_endpoint_that_asks_for_a_token_is_tried_without_one():
    assert presets(AuthenticatedConsumer)["Without a token"] == {"ticket": False}
    assert "Without a token" not in presets(EchoConsumer)


def test_a_json_endpoint_offers_its_messages():
    found = presets(MonitorConsumer)
    assert json.loads(found["Disconnect"]["text"])["type"] == "Disconnect"
    assert found["Binary"] == {"hex": "00 ff"}
    assert "Empty message" not in found


def test_the_page_shows_what_startendpoint_writes(client):
    assert "class ShoutConsumer(PolicyConsumer):" in client.get("/").content.decode()
