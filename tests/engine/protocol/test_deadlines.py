"""Deadlines are numbers."""

from __future__ import annotations

import math

from realtime.engine.protocol.deadlines import Deadline, Deadlines


def test_nearest_deadline_is_next() -> None:
    deadlines = Deadlines()
    assert deadlines.next == math.inf
    deadlines.set(Deadline.IDLE, 20)
    deadlines.set(Deadline.PING, 10)
    assert deadlines.next == 10
    deadlines.clear(Deadline.PING, Deadline.PONG)
    assert deadlines.next == 20
    deadlines.clear_all()
    assert deadlines.next == math.inf


def test_deadline_that_is_set_again_is_moved() -> None:
    deadlines = Deadlines()
    deadlines.set(Deadline.IDLE, 10)
    deadlines.set(Deadline.IDLE, 30)
    assert deadlines.next == 30
    assert deadlines.take_due(29) == []


def test_due_deadlines_are_taken_once_and_in_order() -> None:
    deadlines = Deadlines()
    for what, when in ((Deadline.IDLE, 3), (Deadline.PING, 1), (Deadline.PONG, 2), (Deadline.LIFETIME, 4)):
        deadlines.set(what, when)
    assert deadlines.take_due(3) == [Deadline.PING, Deadline.PONG, Deadline.IDLE]
    assert deadlines.take_due(3) == []
    assert deadlines.next == 4
