"""The bounded queue of one channel, on a clock of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading

import pytest

from realtime.engine.layer.channel_queue import RESYNCHRONISE, ChannelQueue, ReaderQueue
from realtime.engine.layer.options import LayerOptions, Statistics


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


def queue_of(capacity, options, **rest):
    return ChannelQueue("chan", dataclasses.replace(options, capacity_of=lambda _: capacity), **rest)


def drain(queue):
    messages = []
    while queue:
        messages.append(queue.get_nowait())
    return messages


def test_mail_comes_out_in_the_order_in_which_it_came(options):
    queue = queue_of(3, options)
    assert not queue
    assert [queue.put({"n": n}) for n in range(3)] == [1, 2, 3]
    assert len(queue) == 3
    assert drain(queue) == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert not queue


def test_put_says_when_the_queue_was_empty(options):
    queue = queue_of(3, options)
    assert queue.put({}) == 1
    assert queue.put({}) == 2
    drain(queue)
    assert queue.put({}) == 1


def test_an_empty_queue_has_nothing_to_take(options):
    with pytest.raises(LookupError, match="chan is empty"):
        queue_of(3, options).get_nowait()


def test_a_full_queue_refuses_and_counts_and_keeps_what_it_has(options):
    queue = queue_of(2, options)
    assert [queue.put({"n": n}) for n in range(4)] == [1, 2, 0, 0]
    assert options.statistics.dropped == 2
    assert drain(queue) == [{"n": 0}, {"n": 1}]


def test_a_burst_of_drops_is_logged_once_and_the_next_burst_again(options, caplog):
    queue = queue_of(1, options)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            queue.put({})
        assert len(caplog.records) == 1
        assert "channel chan is full (1 messages)" in caplog.text
        drain(queue)
        queue.put({})
        queue.put({})
        assert len(caplog.records) == 2


def test_a_consumer_that_takes_one_and_loses_one_in_turn_is_one_burst(options, caplog):
    queue = queue_of(2, options)
    for _ in range(3):
        queue.put({})
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        for _ in range(5):
            queue.get_nowait()
            queue.put({})
            queue.put({})
    assert caplog.records == []
    assert options.statistics.dropped == 6


def test_the_consumer_learns_at_which_point_it_missed_something(options):
    queue = queue_of(2, options, resynchronise=True)
    for n in range(4):
        queue.put({"n": n})
    assert drain(queue) == [{"n": 0}, {"n": 1}, {"type": RESYNCHRONISE}]
    assert options.statistics.resynchronised == 1
    queue.put({"n": 4})
    assert drain(queue) == [{"n": 4}]


def test_a_loss_elsewhere_is_told_beyond_the_capacity(options):
    queue = queue_of(1, options)
    queue.put({"n": 0})
    assert queue.put_resynchronise() == 2
    assert drain(queue) == [{"n": 0}, {"type": RESYNCHRONISE}]
    assert queue.put_resynchronise() == 1


def test_mail_that_nobody_took_in_time_is_gone_and_counted(options, clock):
    queue = queue_of(10, options)
    queue.put({"n": 0})
    clock.now = 30
    queue.put({"n": 1})
    clock.now = 60
    assert len(queue) == 1
    assert drain(queue) == [{"n": 1}]
    assert options.statistics.expired == 1


def test_expired_mail_makes_room(options, clock):
    queue = queue_of(1, options)
    queue.put({"n": 0})
    clock.now = 61
    assert queue.put({"n": 1}) == 1
    assert drain(queue) == [{"n": 1}]


def test_the_notice_of_a_loss_does_not_expire(options, clock):
    queue = queue_of(1, options)
    queue.put_resynchronise()
    clock.now = 10_000
    assert drain(queue) == [{"type": RESYNCHRONISE}]


def test_clear_throws_everything_away_without_counting_it(options):
    queue = queue_of(1, options)
    queue.put({})
    queue.clear()
    assert not queue
    assert options.statistics == Statistics()


@pytest.fixture
def reader_queue():
    return ReaderQueue("chan", LayerOptions())


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
    thread = threading.Thread(target=reader_queue.post, args=({"n": 1},))
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
