"""One message on its way to many members."""

from __future__ import annotations

import copy
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.engine.layer.group_message import (
    Codec,
    GroupMessage,
    Kind,
    RemoteMessage,
    private_copy,
)
from realtime.engine.layer.options import LayerOptions

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
    group_message = GroupMessage(message)
    first, second = group_message.copy(), group_message.copy()
    assert first == second == message
    first["type"] = "changed"
    assert second == group_message.copy() == message


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
    group_message = GroupMessage({"type": "websocket.send", **message})
    assert group_message.shared is not None
    assert group_message.shared.as_event() == event


@pytest.mark.parametrize("message", [{}, {"text": None}, {"text": "hi", "bytes": b"hi"}])
def test_a_websocket_send_message_is_either_text_or_bytes(message):
    with pytest.raises(ValueError, match="either text or data"):
        GroupMessage({"type": "websocket.send", **message})


def test_only_a_websocket_send_message_knows_exclude():
    assert GroupMessage({"type": "websocket.send", "text": "hi", "exclude": "chan"}).exclude == "chan"
    other = GroupMessage({"type": "rooms.event", "exclude": "chan"})
    assert other.exclude is None
    assert other.shared is None
    assert other.copy() == {"type": "rooms.event", "exclude": "chan"}


HERE, THERE = LayerOptions(process="a" * 16), LayerOptions(process="b" * 16)


@pytest.mark.parametrize("serializer", ["msgpack", "json"])
@pytest.mark.parametrize("keys", [None, ["one", "two"]])
@pytest.mark.parametrize("kind", list(Kind))
def test_a_remote_message_is_read_as_it_was_written(serializer, keys, kind):
    here, there = (Codec(process, serializer, keys) for process in (HERE, THERE))
    data = here.encode(kind, "target", {"type": "event", "text": "ü", "list": [1, None]})
    assert there.decode(data) == RemoteMessage(kind, "target", {"type": "event", "text": "ü", "list": [1, None]}, None)


def test_a_process_knows_its_own_messages_without_decoding_them():
    here, there = Codec(HERE, "msgpack", None), Codec(THERE, "msgpack", None)
    data = here.encode(Kind.GROUP, "group", {"type": "event"})
    assert here.is_own(data)
    assert not there.is_own(data)


def test_a_message_encrypted_with_an_older_key_is_read():
    old, new = Codec(HERE, "msgpack", ["old"]), Codec(THERE, "msgpack", ["new", "old"])
    assert new.decode(old.encode(Kind.GROUP, "group", {"type": "event"})).content == {"type": "event"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x93\x01",
        b"\x01",
        b"\x94\x63\xa1x\xa1y\xc0",
        b"\x93\x01\xa1x\xa1y",
        b"\x95\x01\xa1x\xa1y\xc0\xc0",
    ],
)
def test_what_is_no_message_is_refused(body):
    options = LayerOptions()
    assert Codec(options, "msgpack", None).decode(THERE.process.encode() + body) is None
    assert options.statistics.undecodable == 1


def test_a_message_encrypted_with_another_key_is_refused():
    data = Codec(HERE, "msgpack", ["one"]).encode(Kind.GROUP, "group", {})
    assert Codec(THERE, "msgpack", ["two"]).decode(data) is None


def test_a_message_has_a_second_form_for_connections_that_speak_msgpack():
    event = {"type": "websocket.send", "text": "{}", "msgpack": b"\x80", "exclude": "one"}
    message = GroupMessage(event)
    assert message.shared is not None
    assert message.shared.packed is not None
    assert (message.shared.text, message.shared.packed.data) == ("{}", b"\x80")
    assert message.copy() == {"type": "websocket.send", "text": "{}", "msgpack": b"\x80"}
