from __future__ import annotations

import pytest

from realtime.engine import KIB, MIB, SocketPolicy
from realtime.engine.protocol.errors import PolicyError


def test_the_defaults_are_those_of_the_design() -> None:
    policy = SocketPolicy()
    assert policy.subprotocols == ()
    assert policy.accept_any_subprotocol is False
    assert policy.max_message_size == 64 * MIB
    assert policy.max_frame_size == 16 * MIB
    assert policy.write_buffer_size == 128 * KIB
    assert policy.max_write_buffer_size is None
    assert policy.accept_unmasked_frames is False
    assert policy.allowed_origins is None
    assert policy.require_origin is False
    assert policy.ping_interval is None
    assert policy.ping_timeout == 20
    assert policy.idle_timeout is None
    assert policy.max_messages_per_second is None
    assert policy.compression is False
    assert policy.has_default_sizes


def test_a_policy_is_frozen_and_keyword_only() -> None:
    with pytest.raises(AttributeError):
        SocketPolicy().max_message_size = 5  # type: ignore[misc]
    with pytest.raises(TypeError):
        SocketPolicy(("a",))  # type: ignore[misc]


REFUSED = [
    ("max_message_size", {"max_message_size": -1}),
    ("max_message_size", {"max_message_size": 0}),
    ("max_message_size", {"max_message_size": 1.5}),
    ("max_message_size", {"max_message_size": True}),
    ("max_frame_size", {"max_frame_size": -5}),
    ("max_frame_size", {"max_message_size": 100, "max_frame_size": 101}),
    ("write_buffer_size", {"write_buffer_size": -1}),
    ("write_buffer_size", {"write_buffer_size": None}),
    ("max_write_buffer_size", {"max_write_buffer_size": 0}),
    ("max_write_buffer_size", {"write_buffer_size": 10, "max_write_buffer_size": 9}),
    ("max_fragments", {"max_fragments": 0}),
    ("ping_interval", {"ping_interval": 0}),
    ("ping_interval", {"ping_interval": float("nan")}),
    ("ping_timeout", {"ping_timeout": None}),
    ("idle_timeout", {"idle_timeout": float("inf")}),
    ("max_messages_per_second", {"max_messages_per_second": -2}),
    ("message_timeout", {"message_timeout": "5"}),
    ("close_timeout", {"close_timeout": 0}),
    ("compression", {"compression": "yes"}),
    ("accept_unmasked_frames", {"accept_unmasked_frames": 1}),
    ("accept_any_subprotocol", {"accept_any_subprotocol": None}),
    ("require_origin", {"require_origin": 1}),
    ("subprotocols", {"subprotocols": "graphql-ws"}),
    ("subprotocols", {"subprotocols": ("two words",)}),
    ("subprotocols", {"subprotocols": ("",)}),
    ("subprotocols", {"subprotocols": ("a,b",)}),
    ("subprotocols", {"subprotocols": ("käse",)}),
    ("subprotocols", {"subprotocols": (7,)}),
    ("subprotocols", {"subprotocols": ("a", "b", "a")}),
    ("subprotocols", {"subprotocols": 7}),
    ("allowed_origins", {"allowed_origins": ("example.com",)}),
    ("allowed_origins", {"allowed_origins": "https://example.com"}),
    ("allowed_origins", {"allowed_origins": (None,)}),
]


@pytest.mark.parametrize(("field", "values"), REFUSED, ids=[str(values) for _, values in REFUSED])
def test_an_impossible_value_is_refused_with_the_name_of_its_field(field: str, values: dict) -> None:
    with pytest.raises(PolicyError) as caught:
        SocketPolicy(**values)
    assert caught.value.field == field
    assert f"SocketPolicy.{field}" in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_none_lifts_the_limits_that_may_be_lifted() -> None:
    policy = SocketPolicy(max_message_size=None, max_frame_size=None, message_timeout=None)
    assert policy.max_message_size is None
    assert policy.max_frame_size is None
    assert not policy.has_default_sizes


def test_the_default_frame_limit_follows_a_smaller_message_limit() -> None:
    assert SocketPolicy(max_message_size=KIB).max_frame_size == KIB


def test_lists_become_tuples() -> None:
    assert SocketPolicy(subprotocols=["a", "b"]).subprotocols == ("a", "b")  # type: ignore[arg-type]


SELECTIONS = [
    ("the only one in common", ("a",), False, ["b", "a"], "a"),
    ("the client's order decides", ("a", "b"), False, ["b", "a"], "b"),
    ("no overlap goes on without one", ("a",), False, ["b"], None),
    ("nothing offered", ("a",), False, [], None),
    ("nothing listed", (), False, ["a"], None),
    ("names are case-sensitive", ("a",), False, ["A"], None),
    ("any: the client's first", (), True, ["x", "y"], "x"),
    ("any overrides the list", ("y",), True, ["x", "y"], "x"),
    ("any, nothing offered", ("y",), True, [], None),
]


@pytest.mark.parametrize(
    ("listed", "accept_any", "offered", "selected"), [row[1:] for row in SELECTIONS], ids=[row[0] for row in SELECTIONS]
)
def test_subprotocol_selection(listed: tuple, accept_any: bool, offered: list, selected: str | None) -> None:
    policy = SocketPolicy(subprotocols=listed, accept_any_subprotocol=accept_any)
    assert policy.select_subprotocol(offered) == selected


def test_the_wire_gets_what_it_enforces_and_nothing_else() -> None:
    wire = SocketPolicy(max_message_size=7, ping_interval=3, subprotocols=("a",)).for_wire()
    assert wire["max_message_size"] == 7
    assert wire["ping_interval"] == 3
    assert "subprotocols" not in wire
    assert "allowed_origins" not in wire
    assert "max_messages_per_second" not in wire
