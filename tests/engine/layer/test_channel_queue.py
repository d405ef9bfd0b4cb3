"""The bounded queue of one channel, on a clock of its own."""

from __future__ import annotations

import logging

import pytest

from realtime.engine.layer.channel_queue import RESYNCHRONISE, Mailbox, MailboxRules
from realtime.engine.layer.statistics import Statistics


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def rules(clock):
    return MailboxRules(expiry=60, statistics=Statistics(), clock=clock)


def drain(mailbox):
    messages = []
    while mailbox:
        messages.append(mailbox.get_nowait())
    return messages


def test_mail_comes_out_in_the_order_in_which_it_came(rules):
    mailbox = Mailbox("chan", 3, rules)
    assert not mailbox
    assert [mailbox.put({"n": n}) for n in range(3)] == [1, 2, 3]
    assert len(mailbox) == 3
    assert drain(mailbox) == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert not mailbox


def test_put_says_when_the_mailbox_was_empty(rules):
    mailbox = Mailbox("chan", 3, rules)
    assert mailbox.put({}) == 1
    assert mailbox.put({}) == 2
    drain(mailbox)
    assert mailbox.put({}) == 1


def test_an_empty_mailbox_has_nothing_to_take(rules):
    with pytest.raises(LookupError, match="chan is empty"):
        Mailbox("chan", 3, rules).get_nowait()


def test_a_full_mailbox_refuses_and_counts_and_keeps_what_it_has(rules):
    mailbox = Mailbox("chan", 2, rules)
    assert [mailbox.put({"n": n}) for n in range(4)] == [1, 2, 0, 0]
    assert rules.statistics.dropped == 2
    assert drain(mailbox) == [{"n": 0}, {"n": 1}]


def test_a_burst_of_drops_is_logged_once_and_the_next_burst_again(rules, caplog):
    mailbox = Mailbox("chan", 1, rules)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            mailbox.put({})
        assert len(caplog.records) == 1
        assert "channel chan is full (1 messages)" in caplog.text
        drain(mailbox)
        mailbox.put({})
        mailbox.put({})
        assert len(caplog.records) == 2


def test_a_consumer_that_takes_one_and_loses_one_in_turn_is_one_burst(rules, caplog):
    mailbox = Mailbox("chan", 2, rules)
    for _ in range(3):
        mailbox.put({})
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        for _ in range(5):
            mailbox.get_nowait()
            mailbox.put({})
            mailbox.put({})
    assert caplog.records == []
    assert rules.statistics.dropped == 6


def test_the_consumer_learns_at_which_point_it_missed_something(rules):
    mailbox = Mailbox("chan", 2, rules, tell_of_loss=True)
    for n in range(4):
        mailbox.put({"n": n})
    assert drain(mailbox) == [{"n": 0}, {"n": 1}, {"type": RESYNCHRONISE}]
    assert rules.statistics.resynchronised == 1
    mailbox.put({"n": 4})
    assert drain(mailbox) == [{"n": 4}]


def test_a_loss_elsewhere_is_told_beyond_the_capacity(rules):
    mailbox = Mailbox("chan", 1, rules)
    mailbox.put({"n": 0})
    assert mailbox.tell_of_loss() == 2
    assert drain(mailbox) == [{"n": 0}, {"type": RESYNCHRONISE}]
    assert mailbox.tell_of_loss() == 1


def test_mail_that_nobody_took_in_time_is_gone_and_counted(rules, clock):
    mailbox = Mailbox("chan", 10, rules)
    mailbox.put({"n": 0})
    clock.now = 30
    mailbox.put({"n": 1})
    clock.now = 60
    assert len(mailbox) == 1
    assert drain(mailbox) == [{"n": 1}]
    assert rules.statistics.expired == 1


def test_expired_mail_makes_room(rules, clock):
    mailbox = Mailbox("chan", 1, rules)
    mailbox.put({"n": 0})
    clock.now = 61
    assert mailbox.put({"n": 1}) == 1
    assert drain(mailbox) == [{"n": 1}]


def test_the_notice_of_a_loss_does_not_expire(rules, clock):
    mailbox = Mailbox("chan", 1, rules)
    mailbox.tell_of_loss()
    clock.now = 10_000
    assert drain(mailbox) == [{"type": RESYNCHRONISE}]


def test_clear_throws_everything_away_without_counting_it(rules):
    mailbox = Mailbox("chan", 1, rules)
    mailbox.put({})
    mailbox.clear()
    assert not mailbox
    assert rules.statistics == Statistics()
