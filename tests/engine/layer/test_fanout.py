"""Delivery in one event loop: order, turns for the loop, and members that fail."""

from __future__ import annotations

import asyncio
import logging

import pytest

from realtime.engine.layer import fanout as delivery
from realtime.engine.layer.fanout import Deliverer
from realtime.engine.layer.group_message import GroupMessage
from realtime.engine.layer.options import Statistics


class Member:
    """A recipient that remembers what it got; ``direct`` as for a connection that has been accepted."""

    def __init__(self, name="chan", *, is_direct=False):
        self.name = name
        self.got = []
        self.direct = self._take if is_direct else None

    def post(self, message):
        self.got.append(message["n"])
        return True

    def _take(self, shared):
        self.got.append(int(shared.text))


def numbered(number):
    return GroupMessage({"type": "message", "n": number})


@pytest.fixture
async def deliverer():
    return Deliverer(asyncio.get_running_loop(), Statistics())


@pytest.fixture(autouse=True)
def _small_turns(monkeypatch):
    monkeypatch.setattr(delivery, "DELIVERIES_PER_ITERATION", 10)
    monkeypatch.setattr(delivery, "SLICE", 10)


async def test_a_small_fan_out_is_done_at_once(deliverer):
    members = [Member() for _ in range(10)]
    assert deliverer.deliver(members, numbered(1)) is None
    assert all(member.got == [1] for member in members)


async def test_a_fan_out_to_nobody_is_done_at_once(deliverer):
    assert deliverer.deliver([], numbered(1)) is None


async def test_a_large_fan_out_gives_the_loop_its_turn(deliverer):
    members = [Member() for _ in range(35)]
    done = deliverer.deliver(members, numbered(1))
    reached = []
    while not done.done():
        await asyncio.sleep(0)  # one turn of the loop
        reached.append(sum(len(member.got) for member in members))
    assert reached[:4] == [10, 20, 30, 35]
    assert all(member.got == [1] for member in members)


async def test_what_is_sent_to_the_same_members_before_it_begins_goes_along(deliverer):
    members = [Member() for _ in range(35)]
    first, second = (deliverer.deliver(members, numbered(number)) for number in (1, 2))
    await asyncio.sleep(0)  # one turn of the loop
    assert [member.got for member in members] == [[1, 2]] * 10 + [[]] * 25
    third = deliverer.deliver(members, numbered(3))
    await asyncio.wrap_future(second)
    assert first.done()
    assert not third.done()
    assert all(member.got[:2] == [1, 2] for member in members)
    await asyncio.wrap_future(third)
    assert all(member.got == [1, 2, 3] for member in members)


async def test_no_more_messages_go_along_than_fit_into_a_turn(deliverer, monkeypatch):
    monkeypatch.setattr(delivery, "MAX_MESSAGES", 2)
    members = [Member() for _ in range(15)]
    results = [deliverer.deliver(members, numbered(number)) for number in range(3)]
    await asyncio.sleep(0)  # one turn of the loop
    assert members[0].got == [0, 1]
    await asyncio.wrap_future(results[-1])
    assert all(member.got == [0, 1, 2] for member in members)


async def test_the_excluded_member_of_each_message_is_its_own(deliverer):
    members = [Member(str(number), is_direct=True) for number in range(12)]
    for number in (3, 11):
        last = deliverer.deliver(
            members, GroupMessage({"type": "websocket.send", "text": str(number)}), members[number]
        )
    await asyncio.wrap_future(last)
    assert [member.got for member in members] == [[11] if n == 3 else [3] if n == 11 else [3, 11] for n in range(12)]


async def test_a_deliverer_is_behind_while_too_much_is_pending(deliverer, monkeypatch):
    monkeypatch.setattr(delivery, "MAX_PENDING", 30)
    members = [Member() for _ in range(15)]
    behind = []
    for number in range(3):
        last = deliverer.deliver(members, numbered(number))
        behind.append(deliverer.is_behind)
    assert behind == [False, False, True]
    await asyncio.wrap_future(last)
    assert not deliverer.is_behind


async def test_many_small_fan_outs_within_one_iteration_count_together(deliverer):
    members = [Member() for _ in range(4)]
    results = [deliverer.deliver(members, numbered(number)) for number in range(5)]
    assert [result is None for result in results] == [True, True, False, False, False]
    await asyncio.wrap_future(results[-1])
    assert all(member.got == [0, 1, 2, 3, 4] for member in members)


async def test_a_later_message_never_overtakes_an_earlier_one(deliverer):
    crowd = [Member() for _ in range(55)]
    deliverer.deliver(crowd, numbered(1))
    second = deliverer.deliver(crowd[-3:], numbered(2))
    third = deliverer.deliver(crowd, numbered(3))
    assert second is not None
    await asyncio.wrap_future(third)
    assert [member.got for member in crowd[-3:]] == [[1, 2, 3]] * 3
    assert [member.got for member in crowd[:-3]] == [[1, 3]] * 52


async def test_a_fan_out_to_nobody_does_not_stop_what_waits_behind_it(deliverer):
    member = Member()
    deliverer.deliver([Member() for _ in range(12)], numbered(1))
    deliverer.deliver([], numbered(2))
    await asyncio.wrap_future(deliverer.deliver([member], numbered(3)))
    assert member.got == [3]


async def test_a_member_that_fails_keeps_the_message_from_nobody(deliverer, caplog):
    def fail(shared):
        raise RuntimeError("a bug")

    broken = Member("broken", is_direct=True)
    broken.direct = fail
    members = [Member(is_direct=True), broken, Member(is_direct=True)]
    with caplog.at_level(logging.ERROR):
        deliverer.deliver(members, GroupMessage({"type": "websocket.send", "text": "1"}))
    assert members[0].got == members[2].got == [1]
    assert "could not be delivered to channel broken" in caplog.text


async def test_deliveries_are_counted_without_the_excluded():
    statistics = Statistics()
    deliverer = Deliverer(asyncio.get_running_loop(), statistics)
    members = [Member(str(number), is_direct=True) for number in range(5)]
    deliverer.deliver(members, GroupMessage({"type": "websocket.send", "text": "1"}), members[3])
    assert [member.got for member in members] == [[1], [1], [1], [], [1]]
    assert statistics.delivered == 4


async def test_a_sender_that_gave_up_waiting_does_not_stop_the_delivery(deliverer):
    members = [Member() for _ in range(25)]
    done = deliverer.deliver(members, numbered(1))
    done.cancel()
    await asyncio.wrap_future(deliverer.deliver(members, numbered(2)))
    assert all(member.got == [1, 2] for member in members)


async def test_another_thread_waits_only_where_the_loop_does_not_keep_up(deliverer, monkeypatch):
    monkeypatch.setattr(delivery, "MAX_BACKLOG", 3)
    member = Member()

    def send_from_a_thread():
        return [deliverer.deliver_threadsafe([member], numbered(number)) for number in range(5)]

    # In this thread, so that the loop cannot keep up.
    results = send_from_a_thread()
    assert [result is None for result in results] == [True, True, True, False, False]
    await asyncio.wrap_future(results[-1])
    assert member.got == [0, 1, 2, 3, 4]
    assert await asyncio.to_thread(deliverer.deliver_threadsafe, [member], numbered(5)) is None
