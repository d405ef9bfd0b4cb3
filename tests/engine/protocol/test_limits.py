"""Limits of a connection."""

from __future__ import annotations

import dataclasses

import pytest

from realtime.engine.policy import SocketPolicy
from realtime.engine.protocol.limits import DEFAULT_LIMITS, Limits, limits_from_policy


def test_defaults_are_those_of_a_policy_that_states_daphne_s_sizes() -> None:
    policy = SocketPolicy(max_message_size=1024 * 1024)
    assert limits_from_policy(policy.for_wire()) == DEFAULT_LIMITS


def test_every_field_of_a_policy_for_the_wire_is_known() -> None:
    assert set(SocketPolicy().for_wire()) == {field.name for field in dataclasses.fields(Limits)}


def test_connections_of_one_policy_share_their_limits() -> None:
    policy = SocketPolicy(max_message_size=1000)
    assert limits_from_policy(policy.for_wire()) is limits_from_policy(policy.for_wire())


def test_fields_that_are_not_named_are_the_server_s() -> None:
    server = Limits(ping_interval=7)
    assert limits_from_policy({"max_message_size": 5}, server) == Limits(ping_interval=7, max_message_size=5)


def test_unknown_field_is_an_error_that_names_it() -> None:
    with pytest.raises(TypeError, match="colour"):
        limits_from_policy({"colour": 1})
