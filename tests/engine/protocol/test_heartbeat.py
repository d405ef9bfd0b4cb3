"""Pings and their answers (RFC 6455, 5.5.2 and 5.5.3)."""

from __future__ import annotations

from realtime.engine.protocol.heartbeat import MAX_OUTSTANDING, Heartbeat


def test_next_ping_waits_for_the_answer_to_the_last() -> None:
    heartbeat = Heartbeat(30, 20, now=0)
    assert (heartbeat.next_ping, heartbeat.overdue) == (30, None)
    payload = heartbeat.beat(30)
    assert (heartbeat.next_ping, heartbeat.overdue) == (None, 50)
    assert heartbeat.answered(payload, 30.25) == 0.25
    assert (heartbeat.next_ping, heartbeat.overdue) == (60, None)


def test_ping_after_a_late_answer_is_due_at_once() -> None:
    heartbeat = Heartbeat(10, 60, now=0)
    payload = heartbeat.beat(10)
    heartbeat.answered(payload, 45)
    assert heartbeat.next_ping == 45


def test_pong_that_answers_no_ping_has_no_latency() -> None:
    heartbeat = Heartbeat(30, 20, now=0)
    heartbeat.beat(30)
    assert heartbeat.answered(b"unsolicited", 31) is None
    assert heartbeat.overdue == 50


def test_answer_to_a_later_ping_answers_the_earlier_ones() -> None:
    heartbeat = Heartbeat(None, 20, now=0)
    heartbeat.sent(b"1", 1)
    heartbeat.sent(b"2", 2)
    heartbeat.sent(b"3", 3)
    assert heartbeat.answered(b"2", 5) == 3
    assert heartbeat.overdue == 23
    assert heartbeat.answered(b"1", 6) is None


def test_number_of_remembered_pings_is_bounded() -> None:
    heartbeat = Heartbeat(None, 20, now=0)
    for number in range(MAX_OUTSTANDING + 5):
        heartbeat.sent(str(number).encode(), number)
    assert heartbeat.answered(b"4", 100) is None
    assert heartbeat.answered(b"5", 100) == 95


def test_pings_have_different_payloads() -> None:
    heartbeat = Heartbeat(1, 1, now=0)
    first = heartbeat.beat(1)
    heartbeat.answered(first, 1)
    assert heartbeat.beat(2) != first
