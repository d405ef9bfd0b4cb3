"""What an application has still to receive."""

from __future__ import annotations

from realtime.engine.protocol.receive_queue import MAX_QUEUED_BYTES, MAX_QUEUED_MESSAGES, Inbox


def test_events_leave_in_order_and_as_what_they_are() -> None:
    inbox = Inbox()
    inbox.add_event({"type": "websocket.connect"})
    inbox.add_message("text")
    inbox.add_message(b"binary")
    assert inbox.take() == {"type": "websocket.connect"}
    assert inbox.take() == {"type": "websocket.receive", "text": "text"}
    assert inbox.take() == {"type": "websocket.receive", "bytes": b"binary"}
    assert inbox.take() is None


def test_room_is_bounded_by_the_number_of_messages() -> None:
    inbox = Inbox()
    while inbox.has_room:
        inbox.add_message("")
    assert len(inbox) == MAX_QUEUED_MESSAGES
    inbox.take()
    assert inbox.has_room


def test_room_is_bounded_by_the_size_of_the_messages() -> None:
    inbox = Inbox()
    inbox.add_message(bytes(MAX_QUEUED_BYTES))
    assert not inbox.has_room
    inbox.take()
    assert inbox.has_room


def test_disconnect_has_room_in_a_full_inbox_and_is_taken_once() -> None:
    inbox = Inbox()
    inbox.add_message("x" * MAX_QUEUED_BYTES)
    inbox.add_event({"type": "websocket.disconnect", "code": 1006})
    inbox.take()
    assert inbox.take() == {"type": "websocket.disconnect", "code": 1006}
    assert inbox.take() is None


def test_cleared_inbox_is_empty_and_has_room() -> None:
    inbox = Inbox()
    inbox.add_message("x" * MAX_QUEUED_BYTES)
    inbox.clear()
    assert (len(inbox), inbox.has_room, inbox.take()) == (0, True, None)
