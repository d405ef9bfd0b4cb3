"""One message on its way to many members."""

from __future__ import annotations

import copy
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.engine.layer.group_message import Parcel, private_copy

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@given(VALUES)
def test_a_private_copy_equals_a_deep_copy(value):
    assert private_copy(value) == copy.deepcopy(value) == value


def test_no_container_of_a_private_copy_is_the_originals():
    original = {"dict": {"list": [{"deep": []}]}, "tuple": ([],)}
    made = private_copy(original)
    made["dict"]["list"][0]["deep"].append(1)
    made["tuple"][0].append(1)
    assert original == {"dict": {"list": [{"deep": []}]}, "tuple": ([],)}


class Opaque:
    def __init__(self):
        self.items = []


def test_what_is_no_plain_container_is_copied_deeply():
    original = {"set": {1}, "object": Opaque(), "at": datetime.date(2026, 1, 1)}
    made = private_copy(original)
    made["set"].add(2)
    made["object"].items.append(1)
    assert original["set"] == {1}
    assert original["object"].items == []
    assert made["at"] == datetime.date(2026, 1, 1)


@pytest.mark.parametrize("message", [{"type": "a", "n": 1}, {"type": "a", "list": [1]}])
def test_every_copy_is_another_dict(message):
    parcel = Parcel(message)
    first, second = parcel.copy(), parcel.copy()
    assert first == second == message
    first["type"] = "changed"
    assert second == parcel.copy() == message


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ({"text": "hi"}, {"type": "websocket.send", "text": "hi"}),
        ({"text": ""}, {"type": "websocket.send", "text": ""}),
        ({"bytes": b""}, {"type": "websocket.send", "bytes": b""}),
        ({"text": "hi", "bytes": None}, {"type": "websocket.send", "text": "hi"}),
        ({"text": None, "bytes": b"\x00"}, {"type": "websocket.send", "bytes": b"\x00"}),
    ],
)
def test_a_websocket_send_message_is_shared(message, event):
    parcel = Parcel({"type": "websocket.send", **message})
    assert parcel.shared is not None
    assert parcel.shared.as_event() == event


@pytest.mark.parametrize("message", [{}, {"text": None}, {"text": "hi", "bytes": b"hi"}])
def test_a_websocket_send_message_is_either_text_or_bytes(message):
    with pytest.raises(ValueError, match="either text or data"):
        Parcel({"type": "websocket.send", **message})


def test_only_a_websocket_send_message_knows_exclude():
    assert Parcel({"type": "websocket.send", "text": "hi", "exclude": "chan"}).exclude == "chan"
    other = Parcel({"type": "rooms.event", "exclude": "chan"})
    assert other.exclude is None
    assert other.shared is None
    assert other.copy() == {"type": "rooms.event", "exclude": "chan"}
