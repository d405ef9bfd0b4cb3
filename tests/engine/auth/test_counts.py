from __future__ import annotations

import uuid

import pytest

from realtime.engine import counts
from realtime.engine.counts import Count


class Clock:
    now = 1_000_079

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(counts, "_now", clock)
    return clock


def new_count() -> Count:
    return Count(uuid.uuid4().hex, 60)


def test_a_window_begins_with_its_first_event(clock: Clock) -> None:
    count = new_count()
    assert (count.add(), count.seconds_left()) == (1, 60)
    clock.now += 2  # a minute of the clock has begun meanwhile
    assert (count.add(), count.seconds_left()) == (2, 58)


def test_a_look_does_not_count() -> None:
    count = new_count()
    assert [count.get(), count.add(), count.get(), count.add(-1)] == [0, 1, 1, 0]


def test_a_count_that_is_forgotten_begins_at_zero() -> None:
    count = new_count()
    count.add(5)
    count.forget()
    assert count.add() == 1
