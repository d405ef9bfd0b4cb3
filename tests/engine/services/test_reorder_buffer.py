"""Order out of disorder, without I/O."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.engine.services.reorder_buffer import ReorderBuffer


def take(buffer: ReorderBuffer[int]) -> list[int]:
    """Take what is ready."""
    taken = list(buffer.ready)
    buffer.ready.clear()
    return taken


#: id, what is offered in this order, what is taken after each.
CASES: list[tuple[str, list[int], list[list[int]]]] = [
    ("in order", [1, 2, 3], [[1], [2], [3]]),
    ("overtaken", [2, 1, 3], [[], [1, 2], [3]]),
    ("backwards", [3, 2, 1], [[], [], [1, 2, 3]]),
    ("repeated", [1, 1, 2, 1, 2], [[1], [], [2], [], []]),
    ("repeated while held", [3, 3, 1, 2], [[], [], [1], [2, 3]]),
    ("old", [0, -5, 1], [[], [], [1]]),
]


@pytest.mark.parametrize(("offered", "taken"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_items_come_out_once_and_in_order(offered: list[int], taken: list[list[int]]) -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer(0, 10)
    for number, expected in zip(offered, taken, strict=True):
        buffer.offer(number, number)
        assert take(buffer) == expected


def test_a_gap_is_behind_until_it_is_filled() -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer(0, 10)
    buffer.offer(3, 3)
    assert buffer.is_behind
    buffer.fill([1, 2], upto=2)
    assert take(buffer) == [1, 2, 3]
    assert not buffer.is_behind


def test_a_number_that_the_source_does_not_have_is_passed_over() -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer(0, 10)
    buffer.offer(4, 4)
    buffer.fill([1, 3], upto=3)
    assert take(buffer) == [1, 3, 4]


def test_what_arrives_before_the_source_was_read_and_is_in_it_is_a_repeat() -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer(-1, 10)
    for number in (3, 4, 5):
        buffer.offer(number, number)
    assert take(buffer) == []
    buffer.fill([], upto=3)
    assert take(buffer) == [4, 5]


def test_a_tail_that_was_never_offered_is_behind() -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer(5, 10)
    buffer.expect(7)
    assert buffer.is_behind
    buffer.fill([6, 7], upto=7)
    assert take(buffer) == [6, 7]
    assert not buffer.is_behind


def test_too_many_held_items_are_forgotten_and_still_known_to_exist() -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer(0, 3)
    for number in range(2, 7):
        buffer.offer(number, number)
    assert buffer.is_behind
    buffer.fill(range(1, 7), upto=6)
    assert take(buffer) == [1, 2, 3, 4, 5, 6]


def test_what_nobody_takes_is_bounded_and_still_known_to_exist() -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer(0, 3)
    for number in range(1, 6):
        buffer.offer(number, number)
    assert take(buffer) == [1, 2, 3]
    assert buffer.is_behind
    buffer.fill([4, 5], upto=5)
    assert take(buffer) == [4, 5]


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 10), st.randoms(use_true_random=False))
def test_whatever_is_lost_repeated_or_reordered_everything_comes_out_once(
    count: int, capacity: int, chance: random.Random
) -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer(0, capacity)
    offered = [number for number in range(1, count + 1) for _ in range(chance.randint(0, 2))]
    chance.shuffle(offered)
    out: list[int] = []
    for number in offered:
        buffer.offer(number, number)
        if chance.random() < 0.5:
            out += take(buffer)
        if chance.random() < 0.1:
            upto = chance.randint(0, count)
            buffer.fill(range(buffer.last + 1, upto + 1), upto)
    buffer.expect(count)
    buffer.fill(range(buffer.last + 1, count + 1), count)
    out += take(buffer)
    assert out == list(range(1, count + 1))
