"""The bounded queue of one channel, on a clock of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading

import pytest

from realtime.engine.layer.options import LayerOptions, Statistics
from realtime.engine.layer.subscription import RESYNCHRONISE, Subscription


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def options(clock):
    return LayerOptions(expiry=60, clock=clock)


def queue_of(capacity, options):
    return Subscription("chan", dataclasses.replace(options, capacity_of=lambda _: capacity))


def attached_queue_of(capacity, options, wake=lambda: None):
    queue = queue_of(capacity, options)
    queue.attach(wake, lambda closed: None, resynchronise=True)
    return queue


def drain(queue):
    messages = []
    while queue:
        messages.append(queue.get_nowait())
    return messages


def test_mail_comes_out_in_the_order_in_which_it_came(options):
    queue = queue_of(3, options)
    assert not queue
    assert all(queue.post({"n": n}) for n in range(3))
    assert len(queue) == 3
    assert drain(queue) == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert not queue


async def test_the_consumer_is_woken_when_the_queue_was_empty(options):
    wakes = []
    queue = attached_queue_of(3, options, wake=lambda: wakes.append(len(queue)))
    queue.post({})
    queue.post({})
    drain(queue)
    queue.post({})
    assert wakes == [1, 1]


def test_an_empty_queue_has_nothing_to_take(options):
    with pytest.raises(LookupError, match="chan is empty"):
        queue_of(3, options).get_nowait()


def test_a_full_queue_refuses_and_counts_and_keeps_what_it_has(options):
    queue = queue_of(2, options)
    assert [queue.post({"n": n}) for n in range(4)] == [True, True, False, False]
    assert options.statistics.dropped == 2
    assert drain(queue) == [{"n": 0}, {"n": 1}]


def test_a_burst_of_drops_is_logged_once_and_the_next_burst_again(options, caplog):
    queue = queue_of(1, options)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            queue.post({})
        assert len(caplog.records) == 1
        assert "channel chan is full (1 messages)" in caplog.text
        drain(queue)
        queue.post({})
        queue.post({})
        assert len(caplog.records) == 2


def test_a_consumer_that_takes_one_and_loses_one_in_turn_is_one_burst(options, caplog):
    queue = queue_of(2, options)
    for _ in range(3):
        queue.post({})
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        for _ in range(5):
            queue.get_nowait()
            queue.post({})
            queue.post({})
    assert caplog.records == []
    assert options.statistics.dropped == 6


async def test_the_consumer_learns_at_which_point_it_missed_something(options):
    queue = attached_queue_of(2, options)
    for n in range(4):
        queue.post({"n": n})
    assert drain(queue) == [{"n": 0}, {"n": 1}, {"type": RESYNCHRONISE}]
    assert options.statistics.resynchronised == 1
    queue.post({"n": 4})
    assert drain(queue) == [{"n": 4}]


async def test_a_loss_elsewhere_is_reported_beyond_the_capacity(options):
    queue = attached_queue_of(1, options)
    queue.post({"n": 0})
    queue.resynchronise()
    assert drain(queue) == [{"n": 0}, {"type": RESYNCHRONISE}]
    queue.resynchronise()
    assert drain(queue) == [{"type": RESYNCHRONISE}]


def test_a_channel_that_is_not_attached_gets_no_notice_of_a_loss(options):
    queue = queue_of(1, options)
    queue.resynchronise()
    assert not queue
    assert options.statistics == Statistics()


def test_mail_that_nobody_took_in_time_is_gone_and_counted(options, clock):
    queue = queue_of(10, options)
    queue.post({"n": 0})
    clock.now = 30
    queue.post({"n": 1})
    clock.now = 60
    assert len(queue) == 1
    assert drain(queue) == [{"n": 1}]
    assert options.statistics.expired == 1


def test_expired_mail_makes_room(options, clock):
    queue = queue_of(1, options)
    queue.post({"n": 0})
    clock.now = 61
    assert queue.post({"n": 1})
    assert drain(queue) == [{"n": 1}]


async def test_the_notice_of_a_loss_does_not_expire(options, clock):
    queue = attached_queue_of(1, options)
    queue.resynchronise()
    clock.now = 10_000
    assert drain(queue) == [{"type": RESYNCHRONISE}]


def test_clear_throws_everything_away_without_counting_it(options):
    queue = queue_of(1, options)
    queue.post({})
    queue.clear()
    assert not queue
    assert options.statistics == Statistics()


@pytest.fixture
def reader_queue():
    return Subscription("chan", LayerOptions())


async def waiting_readers(reader_queue, count):
    readers = [asyncio.create_task(reader_queue.get()) for _ in range(count)]
    await asyncio.sleep(0)
    return readers


async def test_readers_are_served_in_the_order_in_which_they_came(reader_queue):
    first, second = await waiting_readers(reader_queue, 2)
    reader_queue.post({"n": 1})
    reader_queue.post({"n": 2})
    assert [await first, await second] == [{"n": 1}, {"n": 2}]


async def test_a_reader_cancelled_after_its_wake_up_hands_it_on(reader_queue):
    first, second = await waiting_readers(reader_queue, 2)
    reader_queue.post({"n": 1})
    first.cancel()
    assert await second == {"n": 1}
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_reader_cancelled_before_a_thread_could_wake_it_hands_the_message_on(reader_queue):
    first, second = await waiting_readers(reader_queue, 2)

    async def post():
        reader_queue.post({"n": 1})

    thread = threading.Thread(target=asyncio.run, args=(post(),))
    thread.start()
    thread.join()  # holding the loop up: the wake-up is on its way, and has not arrived
    first.cancel()
    assert await second == {"n": 1}


async def test_a_reader_in_a_loop_that_has_ended_keeps_no_message(reader_queue):
    loop = asyncio.new_event_loop()
    forgotten = loop.create_task(reader_queue.get())
    await asyncio.to_thread(loop.run_until_complete, asyncio.sleep(0))
    loop.close()
    reader = (await waiting_readers(reader_queue, 1))[0]
    reader_queue.post({"n": 1})
    assert await reader == {"n": 1}
    forgotten.get_coro().close()
    forgotten._log_destroy_pending = False


async def test_a_reader_that_gave_up_leaves_nothing_behind(reader_queue):
    (reader,) = await waiting_readers(reader_queue, 1)
    reader.cancel()
    await asyncio.wait([reader])
    assert reader_queue._waiters == ()


async def test_readers_that_were_woken_for_nothing_are_served_in_their_order(reader_queue):
    first, second, third = await waiting_readers(reader_queue, 3)
    for number, reader in enumerate((first, second, third)):
        reader_queue.post({"n": number})
        assert await reader == {"n": number}
