from __future__ import annotations

from realtime.engine.consumers.rates import MessageRate


def test_a_burst_of_one_seconds_worth_is_allowed() -> None:
    rate = MessageRate(5, now=100.0)
    assert [rate.allows(100.0) for _ in range(6)] == [True] * 5 + [False]


def test_tokens_come_back_with_time() -> None:
    rate = MessageRate(2, now=0.0)
    assert [rate.allows(now) for now in (0.0, 0.0, 0.1, 0.6, 0.6)] == [True, True, False, True, False]


def test_waiting_long_does_not_save_up_more_than_a_burst() -> None:
    rate = MessageRate(2, now=0.0)
    assert [rate.allows(1000.0) for _ in range(3)] == [True, True, False]


def test_under_one_per_second_a_single_message_is_the_burst() -> None:
    rate = MessageRate(0.5, now=0.0)
    assert [rate.allows(now) for now in (0.0, 1.9, 2.0)] == [True, False, True]
