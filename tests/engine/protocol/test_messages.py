from __future__ import annotations

import pytest

from realtime.engine.protocol.errors import NotTextError
from realtime.engine.protocol.messages import CloseFrame, Message, SharedMessage

KINDS = ["is_text", "is_binary", "is_ping", "is_pong", "is_close"]

#: message, the one property that is true, its bytes
CASES = [
    (Message.text("hé"), "is_text", "hé".encode()),
    (Message.text(""), "is_text", b""),
    (Message.binary(b"\x00\xff"), "is_binary", b"\x00\xff"),
    (Message.binary(b""), "is_binary", b""),
    (Message.ping(b"p"), "is_ping", b"p"),
    (Message.ping(), "is_ping", b""),
    (Message.pong(b"p"), "is_pong", b"p"),
    (Message.close(), "is_close", b""),
    (Message.close_with(1000, "bye"), "is_close", b"\x03\xe8bye"),
    (Message.close_with(4999), "is_close", b"\x13\x87"),
]


@pytest.mark.parametrize(("message", "true_property", "payload"), CASES)
def test_each_message_is_of_one_kind(message: Message, true_property: str, payload: bytes) -> None:
    assert [name for name in KINDS if getattr(message, name)] == [true_property]
    assert message.as_bytes() == payload


@pytest.mark.parametrize("message", [case[0] for case in CASES if not case[0].is_text])
def test_as_str_is_an_error_for_anything_but_text(message: Message) -> None:
    with pytest.raises(NotTextError, match=message.kind.value):
        message.as_str()


def test_as_str_gives_the_text() -> None:
    assert Message.text("hé").as_str() == "hé"
    assert Message.text("").as_str() == ""


def test_close_frame_carries_code_and_reason() -> None:
    assert Message.close_with(3000, "expired").close_frame == CloseFrame(3000, "expired")
    assert Message.close().close_frame is None
    assert Message.text("x").close_frame is None


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, -1])
def test_a_code_that_may_not_be_sent_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match=str(code)):
        Message.close_with(code)


def test_a_long_reason_is_cut_at_a_character_boundary() -> None:
    frame = Message.close_with(1000, "é" * 100).close_frame
    assert frame is not None
    assert frame.reason == "é" * 61


@pytest.mark.parametrize("make", [Message.ping, Message.pong])
def test_control_payloads_are_limited_to_125_bytes(make) -> None:
    assert make(b"x" * 125).as_bytes() == b"x" * 125
    with pytest.raises(ValueError, match="125"):
        make(b"x" * 126)


def test_the_wrong_type_is_refused() -> None:
    with pytest.raises(TypeError, match="str"):
        Message.text(b"x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bytes"):
        Message.binary("x")  # type: ignore[arg-type]


def test_binary_copies_what_can_change() -> None:
    data = bytearray(b"abc")
    message = Message.binary(data)
    data[0] = 0
    assert message.as_bytes() == b"abc"


def test_messages_are_values() -> None:
    assert Message.text("a") == Message.text("a")
    assert Message.text("a") != Message.binary(b"a")
    assert len({Message.text("a"), Message.text("a")}) == 1


@pytest.mark.parametrize("event", [{"type": "websocket.send", "text": ""}, {"type": "websocket.send", "bytes": b"x"}])
def test_a_shared_message_is_made_from_its_event_and_turned_back(event: dict) -> None:
    assert SharedMessage.from_event(event).as_event() == event


def test_a_shared_message_is_either_text_or_data() -> None:
    with pytest.raises(ValueError, match="either"):
        SharedMessage()
    with pytest.raises(ValueError, match="either"):
        SharedMessage(text="a", data=b"b")
