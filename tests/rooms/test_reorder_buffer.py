"""Order out of disorder, without I/O."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.rooms.fanout.reorder_buffer import ReorderBuffer


def take(buffer: ReorderBuffer[str]) -> list[int]:
    """Return the numbers that can be taken."""
    return [number for number, _ in buffer.take()]


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
    buffer: ReorderBuffer[str] = ReorderBuffer(10)
    buffer.start(0)
    for number, expected in zip(offered, taken, strict=True):
        buffer.offer(number, str(number))
        assert take(buffer) == expected


def test_nothing_comes_out_before_the_start() -> None:
    buffer: ReorderBuffer[str] = ReorderBuffer(10)
    for number in (3, 4, 5):
        buffer.offer(number, str(number))
    assert take(buffer) == []
    assert not buffer.is_behind
    buffer.start(3)
    assert take(buffer) == [4, 5]


def test_a_gap_is_behind_until_it_is_filled() -> None:
    buffer: ReorderBuffer[str] = ReorderBuffer(10)
    buffer.start(0)
    buffer.offer(3, "late")
    assert buffer.is_behind
    assert buffer.fill({1: "a", 2: "b"}, upto=2) == [(1, "a"), (2, "b"), (3, "late")]
    assert not buffer.is_behind


def test_a_number_that_the_source_does_not_have_is_passed_over() -> None:
    buffer: ReorderBuffer[str] = ReorderBuffer(10)
    buffer.start(0)
    buffer.offer(4, "d")
    assert buffer.fill({1: "a", 3: "c"}, upto=3) == [(1, "a"), (3, "c"), (4, "d")]


def test_a_tail_that_was_never_offered_is_behind() -> None:
    buffer: ReorderBuffer[str] = ReorderBuffer(10)
    buffer.start(5)
    buffer.expect(7)
    assert buffer.is_behind
    assert buffer.fill({6: "f", 7: "g"}, upto=7) == [(6, "f"), (7, "g")]


def test_too_many_held_items_are_forgotten_and_still_known_to_exist() -> None:
    buffer: ReorderBuffer[str] = ReorderBuffer(3)
    buffer.start(0)
    for number in range(2, 7):
        buffer.offer(number, str(number))
    assert buffer.is_behind
    filled = buffer.fill({number: str(number) for number in range(1, 7)}, upto=6)
    assert [number for number, _ in filled] == [1, 2, 3, 4, 5, 6]


def test_filling_before_the_start_is_a_mistake() -> None:
    with pytest.raises(RuntimeError, match="after its start"):
        ReorderBuffer(3).fill({}, upto=1)


@given(st.integers(1, 40), st.integers(1, 10), st.randoms(use_true_random=False))
def test_whatever_is_lost_repeated_or_reordered_everything_comes_out_once(
    count: int, capacity: int, chance: random.Random
) -> None:
    buffer: ReorderBuffer[str] = ReorderBuffer(capacity)
    buffer.start(0)
    source = {number: str(number) for number in range(1, count + 1)}
    offered = [number for number in source for _ in range(chance.randint(0, 2))]
    chance.shuffle(offered)
    out: list[int] = []
    for number in offered:
        buffer.offer(number, source[number])
        out += take(buffer)
        if chance.random() < 0.1:
            upto = chance.randint(0, count)
            out += [n for n, _ in buffer.fill({n: t for n, t in source.items() if n <= upto}, upto)]
    buffer.expect(count)
    out += [number for number, _ in buffer.fill(source, count)]
    assert out == list(source)
