"""Frames on their way out."""

from __future__ import annotations

from realtime.engine.protocol.send_buffer import WRITE_SIZE, Output


def drain(output: Output) -> bytes:
    data = b""
    while output.size:
        piece = output.take()
        assert 0 < len(piece) <= WRITE_SIZE
        data += piece
    return data


def test_frames_leave_together_and_in_order() -> None:
    output = Output()
    for frame in (b"one", b"two", b"three"):
        output.append(frame)
    assert output.size == 11
    assert output.take() == b"onetwothree"
    assert output.size == 0


def test_single_frame_is_not_copied() -> None:
    output = Output()
    frame = b"a frame"
    output.append(frame)
    assert output.take() is frame


def test_large_output_leaves_in_pieces_of_bounded_size() -> None:
    output = Output()
    frames = [bytes([number]) * 50_000 for number in range(10)]
    for frame in frames:
        output.append(frame)
    assert drain(output) == b"".join(frames)


def test_frame_of_exactly_one_write_leaves_at_once() -> None:
    output = Output()
    output.append(b"x" * WRITE_SIZE)
    output.append(b"y")
    assert output.take() == b"x" * WRITE_SIZE
    assert output.take() == b"y"


def test_dropping_keeps_the_rest_of_a_frame_that_was_begun() -> None:
    output = Output()
    output.append(b"a" * (WRITE_SIZE + 10))
    output.append(b"b" * 10)
    output.take()
    output.drop_unsent()
    assert drain(output) == b"a" * 10


def test_dropping_takes_whole_frames_that_were_not_begun() -> None:
    output = Output()
    output.append(b"a" * WRITE_SIZE)
    output.append(b"b" * 10)
    output.take()
    output.drop_unsent()
    assert output.size == 0
