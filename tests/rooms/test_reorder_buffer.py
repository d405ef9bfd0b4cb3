"""Order out of disorder, without I/O."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.rooms.fanout.reorder_buffer import Sequencer


def take(sequencer: Sequencer[str]) -> list[int]:
    """Return the numbers that can be taken."""
    return [number for number, _ in sequencer.take()]


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
    sequencer: Sequencer[str] = Sequencer(10)
    sequencer.start(0)
    for number, expected in zip(offered, taken, strict=True):
        sequencer.offer(number, str(number))
        assert take(sequencer) == expected


def test_nothing_comes_out_before_the_start() -> None:
    sequencer: Sequencer[str] = Sequencer(10)
    for number in (3, 4, 5):
        sequencer.offer(number, str(number))
    assert take(sequencer) == []
    assert not sequencer.is_behind
    sequencer.start(3)
    assert take(sequencer) == [4, 5]


def test_a_gap_is_behind_until_it_is_filled() -> None:
    sequencer: Sequencer[str] = Sequencer(10)
    sequencer.start(0)
    sequencer.offer(3, "late")
    assert sequencer.is_behind
    assert sequencer.fill({1: "a", 2: "b"}, upto=2) == [(1, "a"), (2, "b"), (3, "late")]
    assert not sequencer.is_behind


def test_a_number_that_the_source_does_not_have_is_passed_over() -> None:
    sequencer: Sequencer[str] = Sequencer(10)
    sequencer.start(0)
    sequencer.offer(4, "d")
    assert sequencer.fill({1: "a", 3: "c"}, upto=3) == [(1, "a"), (3, "c"), (4, "d")]


def test_a_tail_that_was_never_offered_is_behind() -> None:
    sequencer: Sequencer[str] = Sequencer(10)
    sequencer.start(5)
    sequencer.expect(7)
    assert sequencer.is_behind
    assert sequencer.fill({6: "f", 7: "g"}, upto=7) == [(6, "f"), (7, "g")]


def test_too_many_held_items_are_forgotten_and_still_known_to_exist() -> None:
    sequencer: Sequencer[str] = Sequencer(3)
    sequencer.start(0)
    for number in range(2, 7):
        sequencer.offer(number, str(number))
    assert sequencer.is_behind
    filled = sequencer.fill({number: str(number) for number in range(1, 7)}, upto=6)
    assert [number for number, _ in filled] == [1, 2, 3, 4, 5, 6]


def test_filling_before_the_start_is_a_mistake() -> None:
    with pytest.raises(RuntimeError, match="after its start"):
        Sequencer(3).fill({}, upto=1)


@given(st.integers(1, 40), st.integers(1, 10), st.randoms(use_true_random=False))
def test_whatever_is_lost_repeated_or_reordered_everything_comes_out_once(
    count: int, capacity: int, chance: random.Random
) -> None:
    sequencer: Sequencer[str] = Sequencer(capacity)
    sequencer.start(0)
    source = {number: str(number) for number in range(1, count + 1)}
    offered = [number for number in source for _ in range(chance.randint(0, 2))]
    chance.shuffle(offered)
    out: list[int] = []
    for number in offered:
        sequencer.offer(number, source[number])
        out += take(sequencer)
        if chance.random() < 0.1:
            upto = chance.randint(0, count)
            out += [n for n, _ in sequencer.fill({n: t for n, t in source.items() if n <= upto}, upto)]
    sequencer.expect(count)
    out += [number for number, _ in sequencer.fill(source, count)]
    assert out == list(source)
