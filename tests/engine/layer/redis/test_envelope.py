"""What processes say to each other, as bytes."""

from __future__ import annotations

import pytest

from realtime.engine.layer.redis.envelope import Codec, Envelope, Kind, UndecodableEnvelope

HERE, THERE = "a" * 16, "b" * 16


@pytest.mark.parametrize("serializer", ["msgpack", "json"])
@pytest.mark.parametrize("keys", [None, ["one", "two"]])
@pytest.mark.parametrize("kind", list(Kind))
def test_an_envelope_is_read_as_it_was_written(serializer, keys, kind):
    here, there = (Codec(process, serializer, keys, 60) for process in (HERE, THERE))
    data = here.encode(kind, "target", {"type": "event", "text": "ü", "list": [1, None]})
    assert there.decode(data) == Envelope(kind, "target", {"type": "event", "text": "ü", "list": [1, None]})


def test_a_process_knows_its_own_messages_without_decoding_them():
    here, there = Codec(HERE, "msgpack", None, 60), Codec(THERE, "msgpack", None, 60)
    data = here.encode(Kind.GROUP, "group", {"type": "event"})
    assert here.is_own(data)
    assert not there.is_own(data)


def test_a_message_encrypted_with_an_older_key_is_read():
    old, new = Codec(HERE, "msgpack", ["old"], 60), Codec(THERE, "msgpack", ["new", "old"], 60)
    assert new.decode(old.encode(Kind.GROUP, "group", {"type": "event"})).content == {"type": "event"}


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x93\x01", b"\x01", b"\x93\x63\xa1x\xa1y", b"\x92\x01\xa1x", b"\x94\x01\xa1x\xa1y\xa1z"]
)
def test_what_is_no_envelope_is_refused(body):
    with pytest.raises(UndecodableEnvelope):
        Codec(HERE, "msgpack", None, 60).decode(THERE.encode() + body)


def test_a_message_encrypted_with_another_key_is_refused():
    data = Codec(HERE, "msgpack", ["one"], 60).encode(Kind.GROUP, "group", {})
    with pytest.raises(UndecodableEnvelope):
        Codec(THERE, "msgpack", ["two"], 60).decode(data)
