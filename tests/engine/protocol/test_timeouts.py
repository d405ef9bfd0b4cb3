"""What the passing of time means to a connection."""

from __future__ import annotations

import math

from realtime.engine.policy import Limits
from realtime.engine.protocol.deadlines import Deadline
from realtime.engine.protocol.timeouts import LINGER_SECONDS, Timekeeper


def opened(now: float = 0, **limits: float) -> Timekeeper:
    time = Timekeeper(now, answer_timeout=5, lifetime=None)
    time.opened(Limits(**limits), now)  # type: ignore[arg-type]
    return time


def test_application_has_to_answer_and_then_need_not_any_more() -> None:
    time = Timekeeper(10, answer_timeout=5, lifetime=None)
    assert time.next == 15
    time.answered()
    assert time.next == math.inf


def test_lifetime_runs_from_the_accept() -> None:
    time = Timekeeper(0, answer_timeout=None, lifetime=60)
    assert time.next == math.inf
    time.opened(Limits(), 100)
    assert time.take_due(160) == [Deadline.LIFETIME]


def test_open_connection_without_limits_waits_for_nothing() -> None:
    assert opened().next == math.inf


def test_ping_is_due_then_its_pong_then_the_next_ping() -> None:
    time = opened(ping_interval=30, ping_timeout=20)
    assert time.next == 30
    assert time.take_due(30) == [Deadline.PING]
    payload = time.beat(30)
    assert time.next == 50
    assert time.ponged(payload, 31) == 1
    assert time.next == 60


def test_ping_of_the_application_is_timed_without_an_interval() -> None:
    time = opened(ping_timeout=20)
    time.pinged(b"hello", 5)
    assert time.next == 25
    assert time.ponged(b"hello", 7) == 2
    assert time.next == math.inf


def test_pong_without_a_ping_has_no_latency() -> None:
    assert opened().ponged(b"unasked", 1) is None


def test_message_is_timed_from_its_first_frame_on() -> None:
    time = opened(message_timeout=60)
    time.message_begun(0, 10)
    time.message_begun(0, 50)
    assert time.next == 70
    time.message_begun(1, 50)  # the next one, begun in the same read that completed the first
    assert time.next == 110
    time.message_ended()
    assert not time.is_timing
    assert time.next == math.inf


def test_connection_is_idle_when_no_message_came_for_the_whole_time() -> None:
    time = opened(idle_timeout=10)
    time.last_message = 4
    assert time.take_due(10) == [Deadline.IDLE]
    assert not time.is_idle(10)
    assert time.next == 14
    assert time.is_idle(14)


def test_what_lapses_by_silence_rests_while_this_side_does_not_read() -> None:
    time = opened(idle_timeout=10, ping_interval=10)
    assert time.take_due(10, is_reading=False) == [Deadline.PING]
    assert time.next == 10 + LINGER_SECONDS
    assert time.take_due(20) == [Deadline.IDLE]


def test_only_the_answer_matters_after_a_close_frame_and_only_the_end_after_that() -> None:
    time = opened(idle_timeout=10, close_timeout=3)
    time.closing(5)
    assert time.take_due(100) == [Deadline.CLOSE]
    time.closing(100)
    time.lingering(100)
    assert time.take_due(200) == [Deadline.LINGER]
