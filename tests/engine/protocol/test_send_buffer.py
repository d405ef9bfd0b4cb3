"""What waits for the peer."""

from __future__ import annotations

from realtime.engine.protocol.send_buffer import WRITE_SIZE, SendBuffer


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
