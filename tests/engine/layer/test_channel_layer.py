"""Attached consumers: straight to the connection, or by a mailbox and a wake-up."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from itertools import pairwise

import pytest
from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer

from realtime.engine.layer import RESYNCHRONISE, FanoutChannelLayer
from realtime.engine.layer import channel_layer as layer_module

MARK = {"type": "mark"}


async def test_settings_name_this_layer():
    assert isinstance(get_channel_layer(), FanoutChannelLayer)


async def test_all_members_get_one_and_the_same_shared_message(make_layer, attach):
    layer = make_layer()
    members = [(await attach(layer, "group")).accept() for _ in range(5)]
    await layer.group_send("group", {"type": "websocket.send", "text": "hi"})
    frames = [await member.next_frame() for member in members]
    assert frames[0].text == "hi"
    assert all(frame is frames[0] for frame in frames)
    assert all(member.wakes == 0 for member in members)


async def test_the_excluded_channel_does_not_get_it(make_layer, attach):
    layer = make_layer()
    first, second = [(await attach(layer, "group")).accept() for _ in range(2)]
    await layer.group_send("group", {"type": "websocket.send", "text": "1", "exclude": first.channel_name})
    await layer.group_send("group", {"type": "websocket.send", "text": "2"})
    assert (await first.next_frame()).text == "2"
    assert [(await second.next_frame()).text for _ in range(2)] == ["1", "2"]


async def test_before_the_accept_it_goes_to_the_mailbox_like_any_other(make_layer, attach):
    layer = make_layer()
    member = await attach(layer, "group")
    await layer.group_send("group", {"type": "websocket.send", "text": "hi", "exclude": "nobody"})
    assert await member.next_mail() == {"type": "websocket.send", "text": "hi"}


async def test_every_other_type_goes_to_the_mailbox(make_layer, attach):
    layer = make_layer()
    member = (await attach(layer, "group")).accept()
    await layer.group_send("group", {"type": "rooms.event", "seq": 1})
    await layer.send(member.channel_name, {"type": "rooms.event", "seq": 2})
    assert [(await member.next_mail())["seq"] for _ in range(2)] == [1, 2]
    assert member.shared == []


async def test_a_consumer_is_woken_once_for_all_the_mail_that_waits(layers):
    layer = layers()
    wakes = []
    channel = await layer.new_channel()
    subscription = layer.attach(channel, wake=lambda: wakes.append(len(subscription)))
    for _ in range(3):
        await layer.send(channel, MARK)
    assert wakes == [1]
    while subscription:
        assert subscription.get_nowait() == MARK
    await layer.send(channel, MARK)
    assert wakes == [1, 1]


async def test_a_closed_subscription_has_left_everything_and_gets_nothing(make_layer, attach):
    layer = make_layer()
    gone, here = (await attach(layer, "group", "other")).accept(), (await attach(layer, "group")).accept()
    gone.subscription.close()
    gone.subscription.close()
    await layer.group_send("group", {"type": "websocket.send", "text": "hi"})
    await here.next_frame()
    assert gone.shared == []
    assert gone.subscription.direct is None
    assert not gone.subscription.post(MARK)
    assert not gone.subscription


async def test_a_channel_is_free_again_when_its_subscription_is_closed(make_layer, attach):
    layer = make_layer()
    member = await attach(layer)
    with pytest.raises(ValueError, match="attached already"):
        layer.attach(member.channel_name, wake=lambda: None)
    member.subscription.close()
    layer.attach(member.channel_name, wake=lambda: None)


async def test_an_attached_channel_is_not_received_from(make_layer, attach):
    layer = make_layer()
    member = await attach(layer)
    with pytest.raises(RuntimeError, match="is attached"):
        await layer.receive(member.channel_name)


async def test_what_came_before_the_attachment_is_not_lost(make_layer):
    layer = make_layer()
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    await layer.send(channel, {"type": "early"})
    woken = asyncio.Event()
    subscription = layer.attach(channel, wake=woken.set)
    assert woken.is_set()
    assert subscription.get_nowait() == {"type": "early"}
    await layer.group_send("group", MARK)
    assert subscription.get_nowait() == MARK


async def test_a_full_mailbox_raises_for_the_sender_and_resynchronises_the_consumer(layers):
    layer = layers(capacity=2)
    channel = await layer.new_channel()
    subscription = layer.attach(channel, wake=lambda: None, resynchronise=True)
    await layer.send(channel, {"type": "1"})
    await layer.send(channel, {"type": "2"})
    with pytest.raises(ChannelFull):
        await layer.send(channel, {"type": "3"})
    types = []
    while subscription:
        types.append(subscription.get_nowait()["type"])
    assert types == ["1", "2", RESYNCHRONISE]
    assert layer.statistics.dropped == 1


async def test_a_group_message_to_full_mailboxes_is_counted_and_logged_once_each(layers, caplog):
    layer = layers(capacity=1)
    for _ in range(3):
        channel = await layer.new_channel()
        layer.attach(channel, wake=lambda: None)
        await layer.group_add("group", channel)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            await layer.group_send("group", {"type": "event"})
    assert layer.statistics.dropped == 3 * 4
    assert len([record for record in caplog.records if "is full" in record.message]) == 3


async def test_ten_thousand_members_are_reached_and_the_loop_has_turns_in_between(layers):
    layer = layers()
    reached = []
    subscriptions = []
    for _ in range(10_000):
        channel = await layer.new_channel()
        subscription = layer.attach(channel, wake=lambda: None)
        subscription.direct = reached.append
        subscriptions.append(subscription)
        await layer.group_add("group", channel)
    sending = asyncio.create_task(layer.group_send("group", {"type": "websocket.send", "text": "hi"}))
    seen = []
    while not sending.done():
        await asyncio.sleep(0)  # one turn of the loop
        seen.append(len(reached))
    await sending
    assert max(after - before for before, after in pairwise(seen)) < 1000
    assert len(reached) == 10_000
    assert len(set(map(id, reached))) == 1


async def test_a_message_to_many_stock_channels_has_reached_them_when_group_send_returns(layers):
    layer = layers()
    channels = [await layer.new_channel() for _ in range(1000)]
    for channel in channels:
        await layer.group_add("group", channel)
    # As a view does it: in an event loop of its own, which ends with the call.
    await asyncio.to_thread(asyncio.run, layer.group_send("group", MARK))
    assert layer.statistics.delivered == 1000


async def test_messages_sent_at_once_to_a_large_group_arrive_in_their_order_from_any_sender(layers, until):
    layer = layers()
    got = {}
    for number in range(600):
        channel = await layer.new_channel()
        got[channel] = []
        layer.attach(channel, wake=lambda: None).direct = lambda shared, to=got[channel]: to.append(int(shared.text))
        await layer.group_add("group", channel)
        if number < 10:
            await layer.group_add("small", channel)
    for number in range(30):
        message = {"type": "websocket.send", "text": str(number)}
        await layer.group_send("small" if number % 3 == 0 else "group", message)
    await until(lambda: layer.statistics.delivered == 20 * 600 + 10 * 10)
    everything = list(range(30))
    assert list(got.values()) == [everything] * 10 + [[n for n in everything if n % 3]] * 590


async def test_a_consumer_that_was_cancelled_is_taken_out_of_its_groups_after_the_expiry(layers):
    layer = layers(expiry=0.05)
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    receiving = asyncio.create_task(layer.receive(channel))
    await asyncio.sleep(0)
    receiving.cancel()
    await asyncio.wait([receiving])
    assert layer.local.groups() == ["group"]
    await asyncio.sleep(0.15)  # the expiry itself, by the real clock
    await layer.group_send("elsewhere", MARK)
    assert layer.local.groups() == []


async def test_a_channel_that_is_being_read_stays_in_its_groups_for_ever(layers, taken):
    layer = layers(expiry=0.05, group_expiry=0.05)
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    receiving = asyncio.create_task(layer.receive(channel))
    await asyncio.sleep(0.15)  # longer than both expiries
    await layer.group_send("elsewhere", MARK)
    await layer.group_send("group", MARK)
    assert await receiving == MARK


async def test_an_attached_channel_stays_in_its_groups_for_ever(layers, attach):
    layer = layers(expiry=0.05, group_expiry=0.05)
    member = (await attach(layer, "group")).accept()
    await asyncio.sleep(0.15)  # longer than both expiries
    await layer.group_send("group", {"type": "websocket.send", "text": "still here"})
    assert (await member.next_frame()).text == "still here"


async def test_channels_and_groups_leave_nothing_behind(layers, attach):
    layer = layers()
    for _ in range(50):
        member = await attach(layer, "group", "other")
        member.subscription.close()
    channel = await layer.new_channel()
    await layer.send(channel, MARK)
    await layer.receive(channel)
    await layer.group_add("group", channel)
    await layer.group_discard("group", channel)
    assert layer.local.groups() == []
    assert len(layer.local) == 0


async def test_a_layer_that_nobody_uses_is_freed():
    layer = FanoutChannelLayer()
    reference = weakref.ref(layer)
    del layer
    gc.collect()
    assert reference() is None


async def test_a_forked_process_is_another_process_without_members(layers, attach):
    layer = layers()
    await attach(layer, "group")
    channel = await layer.new_channel()
    layer_module.start_in_forked_process()
    assert layer.local.groups() == []
    assert (await layer.new_channel()).split("!")[0] != channel.split("!")[0]
