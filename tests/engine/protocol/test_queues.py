"""What waits on either side of a connection."""

from __future__ import annotations

from realtime.engine.protocol.queues import (
    MAX_QUEUED_BYTES,
    MAX_QUEUED_MESSAGES,
    WRITE_SIZE,
    ReceiveQueue,
    SendBuffer,
)


def test_events_leave_in_order_and_as_what_they_are() -> None:
    queue = ReceiveQueue()
    queue.add_event({"type": "websocket.connect"})
    queue.add_message("text")
    queue.add_message(b"binary")
    assert queue.take() == {"type": "websocket.connect"}
    assert queue.take() == {"type": "websocket.receive", "text": "text"}
    assert queue.take() == {"type": "websocket.receive", "bytes": b"binary"}
    assert queue.take() is None


def test_room_is_bounded_by_the_number_of_messages() -> None:
    queue = ReceiveQueue()
    while queue.has_room:
        queue.add_message("")
    assert len(queue) == MAX_QUEUED_MESSAGES
    queue.take()
    assert queue.has_room


def test_room_is_bounded_by_the_size_of_the_messages() -> None:
    queue = ReceiveQueue()
    queue.add_message(bytes(MAX_QUEUED_BYTES))
    assert not queue.has_room
    queue.take()
    assert queue.has_room


def test_disconnect_has_room_in_a_full_queue_and_is_taken_once() -> None:
    queue = ReceiveQueue()
    queue.add_message("x" * MAX_QUEUED_BYTES)
    queue.add_event({"type": "websocket.disconnect", "code": 1006})
    queue.take()
    assert queue.take() == {"type": "websocket.disconnect", "code": 1006}
    assert queue.take() is None


def test_cleared_queue_is_empty_and_has_room() -> None:
    queue = ReceiveQueue()
    queue.add_message("x" * MAX_QUEUED_BYTES)
    queue.clear()
    assert (len(queue), queue.has_room, queue.take()) == (0, True, None)


def drain(buffer: SendBuffer) -> bytes:
    data = b""
    while buffer.size:
        piece = buffer.take()
        assert 0 < len(piece) <= WRITE_SIZE
        data += piece
    return data


def test_frames_leave_together_and_in_order() -> None:
    buffer = SendBuffer()
    for frame in (b"one", b"two", b"three"):
        buffer.append(frame)
    assert buffer.size == 11
    assert buffer.take() == b"onetwothree"
    assert buffer.size == 0


def test_single_frame_is_not_copied() -> None:
    buffer = SendBuffer()
    frame = b"a frame"
    buffer.append(frame)
    assert buffer.take() is frame


def test_large_output_leaves_in_pieces_of_bounded_size() -> None:
    buffer = SendBuffer()
    frames = [bytes([number]) * 50_000 for number in range(10)]
    for frame in frames:
        buffer.append(frame)
    assert drain(buffer) == b"".join(frames)


def test_frame_of_exactly_one_write_leaves_at_once() -> None:
    buffer = SendBuffer()
    buffer.append(b"x" * WRITE_SIZE)
    buffer.append(b"y")
    assert buffer.take() == b"x" * WRITE_SIZE
    assert buffer.take() == b"y"


def test_dropping_keeps_the_rest_of_a_frame_that_was_begun() -> None:
    buffer = SendBuffer()
    buffer.append(b"a" * (WRITE_SIZE + 10))
    buffer.append(b"b" * 10)
    buffer.take()
    buffer.drop_unsent()
    assert drain(buffer) == b"a" * 10


def test_dropping_takes_whole_frames_that_were_not_begun() -> None:
    buffer = SendBuffer()
    buffer.append(b"a" * WRITE_SIZE)
    buffer.append(b"b" * 10)
    buffer.take()
    buffer.drop_unsent()
    assert buffer.size == 0
