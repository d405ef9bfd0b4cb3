"""Queues that are read by ``receive()``: one message wakes one reader, and no wake-up is lost."""

from __future__ import annotations

import asyncio
import threading

import pytest

from realtime.engine.layer.channel_queue import Mailbox, MailboxRules
from realtime.engine.layer.members import Queue
from realtime.engine.layer.statistics import Statistics


@pytest.fixture
def queue():
    rules = MailboxRules(expiry=60, statistics=Statistics())
    return Queue(Mailbox("chan", 10, rules), kept_until=0)


async def waiting_readers(queue, count):
    readers = [asyncio.create_task(queue.get()) for _ in range(count)]
    await asyncio.sleep(0)
    return readers


async def test_readers_are_served_in_the_order_in_which_they_came(queue):
    first, second = await waiting_readers(queue, 2)
    queue.post({"n": 1})
    queue.post({"n": 2})
    assert [await first, await second] == [{"n": 1}, {"n": 2}]


async def test_a_reader_cancelled_after_its_wake_up_hands_it_on(queue):
    first, second = await waiting_readers(queue, 2)
    queue.post({"n": 1})
    first.cancel()
    assert await second == {"n": 1}
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_reader_cancelled_before_a_thread_could_wake_it_hands_the_message_on(queue):
    first, second = await waiting_readers(queue, 2)
    thread = threading.Thread(target=queue.post, args=({"n": 1},))
    thread.start()
    thread.join()  # holding the loop up: the wake-up is on its way, and has not arrived
    first.cancel()
    assert await second == {"n": 1}


async def test_every_waiting_reader_learns_of_a_failure(queue):
    readers = await waiting_readers(queue, 3)
    queue.fail(OSError("no work to be had"))
    for reader in readers:
        with pytest.raises(OSError, match="no work"):
            await reader
    queue.post({"n": 1})
    assert await queue.get() == {"n": 1}


async def test_a_reader_in_a_loop_that_has_ended_keeps_no_message(queue):
    loop = asyncio.new_event_loop()
    forgotten = loop.create_task(queue.get())
    await asyncio.to_thread(loop.run_until_complete, asyncio.sleep(0))
    loop.close()
    reader = (await waiting_readers(queue, 1))[0]
    queue.post({"n": 1})
    assert await reader == {"n": 1}
    forgotten.get_coro().close()
    forgotten._log_destroy_pending = False
