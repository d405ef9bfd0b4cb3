"""What a connection does when one of its deadlines passes."""

from __future__ import annotations

import math

from realtime.engine.protocol.policy import Limits
from realtime.engine.protocol.timeouts import LINGER_SECONDS, MAX_OUTSTANDING, Deadline, Timeouts


def opened(now: float = 0, **limits: float) -> Timeouts:
    timeouts = Timeouts(now, Limits(), answer_timeout=5, lifetime=None)
    timeouts.opened(Limits(**limits), now)  # type: ignore[arg-type]
    return timeouts


def test_application_has_to_answer_and_then_need_not_any_more() -> None:
    timeouts = Timeouts(10, Limits(), answer_timeout=5, lifetime=None)
    assert timeouts.next == 15
    timeouts.set(Deadline.ANSWER, 11, None)
    assert timeouts.next == math.inf


def test_lifetime_runs_from_the_accept() -> None:
    timeouts = Timeouts(0, Limits(), answer_timeout=None, lifetime=60)
    assert timeouts.next == math.inf
    timeouts.opened(Limits(), 100)
    assert timeouts.take_due(160) == [Deadline.LIFETIME]


def test_open_connection_without_limits_waits_for_nothing() -> None:
    assert opened().next == math.inf


def test_ping_is_due_then_its_pong_then_the_next_ping() -> None:
    timeouts = opened(ping_interval=30, ping_timeout=20)
    assert timeouts.next == 30
    assert timeouts.take_due(30) == [Deadline.PING]
    payload = timeouts.next_ping(30)
    assert payload is not None
    assert timeouts.next == 50
    assert timeouts.pong_received(payload, 31) == 1
    assert timeouts.next == 60


def test_ping_of_the_application_is_timed_without_an_interval() -> None:
    timeouts = opened(ping_timeout=20)
    timeouts.ping_sent(b"hello", 5)
    assert timeouts.next == 25
    assert timeouts.pong_received(b"hello", 7) == 2
    assert timeouts.next == math.inf


def test_pong_without_a_ping_has_no_latency() -> None:
    assert opened().pong_received(b"unasked", 1) is None


def test_message_is_timed_until_it_has_ended() -> None:
    timeouts = opened(message_timeout=60)
    timeouts.time_message(0, 10)
    assert (timeouts.next, timeouts.timed_message) == (70, 0)
    timeouts.time_message(1, 50)  # the next one, begun in the same read that completed the first
    assert (timeouts.next, timeouts.timed_message) == (110, 1)
    timeouts.time_message(None, 60)
    assert (timeouts.next, timeouts.timed_message) == (math.inf, None)


def test_connection_is_idle_when_no_message_came_for_the_whole_time() -> None:
    timeouts = opened(idle_timeout=10)
    timeouts.last_message = 4
    assert timeouts.take_due(10) == [Deadline.IDLE]
    assert not timeouts.is_idle(10)
    assert timeouts.next == 14
    assert timeouts.is_idle(14)


def test_deadlines_for_silence_rest_while_this_side_does_not_read() -> None:
    timeouts = opened(idle_timeout=10, ping_interval=10)
    assert timeouts.take_due(10, is_reading=False) == [Deadline.PING]
    assert timeouts.next == 10 + LINGER_SECONDS
    assert timeouts.take_due(20) == [Deadline.IDLE]


def test_only_the_answer_matters_after_a_close_frame_and_only_the_end_after_that() -> None:
    timeouts = opened(idle_timeout=10, close_timeout=3)
    timeouts.closing(5)
    assert timeouts.take_due(100) == [Deadline.CLOSE]
    timeouts.closing(100)
    timeouts.lingering(100)
    assert timeouts.take_due(200) == [Deadline.LINGER]


def test_nearest_deadline_is_next() -> None:
    timeouts = opened()
    assert timeouts.next == math.inf
    timeouts.set(Deadline.IDLE, 0, 20)
    timeouts.set(Deadline.PING, 0, 10)
    assert timeouts.next == 10
    timeouts.set(Deadline.PING, 5, None)
    timeouts.set(Deadline.PONG, 5, None)
    assert timeouts.next == 20
    timeouts.clear()
    assert timeouts.next == math.inf


def test_deadline_that_is_set_again_is_moved() -> None:
    timeouts = opened()
    timeouts.set(Deadline.IDLE, 0, 10)
    timeouts.set(Deadline.IDLE, 10, 20)
    assert timeouts.next == 30
    assert timeouts.take_due(29) == []


def test_due_timeouts_are_taken_once_and_in_order() -> None:
    timeouts = opened()
    for what, when in ((Deadline.IDLE, 3), (Deadline.PING, 1), (Deadline.PONG, 2), (Deadline.LIFETIME, 4)):
        timeouts.set(what, 0, when)
    assert timeouts.take_due(3) == [Deadline.PING, Deadline.PONG, Deadline.IDLE]
    assert timeouts.take_due(3) == []
    assert timeouts.next == 4


def test_no_second_ping_is_sent_while_one_waits_for_its_answer() -> None:
    timeouts = opened(ping_interval=10, ping_timeout=60)
    timeouts.take_due(10)
    payload = timeouts.next_ping(10)
    assert payload is not None
    assert timeouts.take_due(20) == [Deadline.PING]
    assert timeouts.next_ping(20) is None
    timeouts.pong_received(payload, 25)
    assert timeouts.next == 30
    assert timeouts.next_ping(30) is not None


def test_answer_to_a_later_ping_answers_the_earlier_ones() -> None:
    timeouts = opened(ping_timeout=20)
    for number in (1, 2, 3):
        timeouts.ping_sent(str(number).encode(), number)
    assert timeouts.pong_received(b"2", 5) == 3
    assert timeouts.next == 23
    assert timeouts.pong_received(b"1", 6) is None


def test_number_of_remembered_pings_is_bounded() -> None:
    timeouts = opened()
    for number in range(MAX_OUTSTANDING + 5):
        timeouts.ping_sent(str(number).encode(), number)
    assert timeouts.pong_received(b"4", 100) is None
    assert timeouts.pong_received(b"5", 100) == 95


def test_pings_have_different_payloads() -> None:
    timeouts = opened(ping_interval=1, ping_timeout=1)
    first = timeouts.next_ping(1)
    assert first is not None
    timeouts.pong_received(first, 1)
    assert timeouts.next_ping(2) != first
