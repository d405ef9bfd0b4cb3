"""What Channels promises of every channel layer: in memory, on a real Redis, and through a real Sentinel.

The cases are those that channels and channels_redis test their own layers by, as far as they apply, and what the
Channels documentation says of layers. Absence is shown by what comes instead.
"""

from __future__ import annotations

import asyncio
import random

import pytest
from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull

from realtime.engine.layer import FanoutChannelLayer

MARK = {"type": "mark"}


async def test_a_message_to_a_channel_is_received(make_layer, taken):
    layer = make_layer()
    await layer.send("work", {"type": "test.message", "text": "Ahoy-hoy!"})
    assert await taken(layer, "work") == {"type": "test.message", "text": "Ahoy-hoy!"}


async def test_a_message_to_a_channel_of_this_process_is_received(make_layer, taken):
    layer = make_layer()
    channel = await layer.new_channel()
    await layer.send(channel, {"type": "test.message", "text": "Local only please"})
    assert await taken(layer, channel) == {"type": "test.message", "text": "Local only please"}


@pytest.mark.parametrize("value", ["", b"", b"\x00\xff", 0, -1, 1.5, None, True, [], [1, ["two"]], {"a": {"b": [1]}}])
async def test_every_kind_of_value_arrives_as_it_was_sent(make_layer, taken, value):
    layer = make_layer()
    await layer.send("work", {"type": "test", "value": value})
    assert await taken(layer, "work") == {"type": "test", "value": value}


async def test_messages_are_received_in_the_order_in_which_they_were_sent(make_layer, taken):
    layer = make_layer()
    for number in range(20):
        await layer.send("work", {"type": "message", "number": number})
    assert [(await taken(layer, "work"))["number"] for _ in range(20)] == list(range(20))


async def test_receive_waits_for_a_message_that_comes_later(make_layer):
    layer = make_layer()
    receiving = asyncio.create_task(layer.receive("work"))
    await asyncio.sleep(0)
    assert not receiving.done()
    await layer.send("work", MARK)
    assert await receiving == MARK


async def test_several_receivers_of_one_channel_get_one_message_each(make_layer):
    layer = make_layer()
    receivers = [asyncio.create_task(layer.receive("work")) for _ in range(5)]
    for number in range(5):
        await layer.send("work", {"type": "message", "number": number})
    assert sorted([(await receiver)["number"] for receiver in receivers]) == [0, 1, 2, 3, 4]


async def test_a_receiver_that_gives_up_loses_no_message(make_layer, taken):
    layer = make_layer()
    channel = await layer.new_channel()
    receiving = asyncio.create_task(layer.receive(channel))
    await asyncio.sleep(0)
    await layer.send(channel, MARK)
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert await taken(layer, channel) == MARK


async def test_a_full_channel_is_an_error_for_the_sender(make_layer):
    layer = make_layer(capacity=3)
    for _ in range(3):
        await layer.send("work", MARK)
    with pytest.raises(ChannelFull):
        await layer.send("work", MARK)
    assert layer.statistics.dropped == 1


async def test_a_full_channel_has_room_again_when_a_message_was_taken(make_layer, taken):
    layer = make_layer(capacity=1)
    await layer.send("work", {"type": "first"})
    await taken(layer, "work")
    await layer.send("work", {"type": "second"})
    assert (await taken(layer, "work"))["type"] == "second"


async def test_capacity_can_differ_by_channel(make_layer):
    layer = make_layer(capacity=3, channel_capacity={"slow.*": 1})
    await layer.send("slow.work", MARK)
    with pytest.raises(ChannelFull):
        await layer.send("slow.work", MARK)
    await layer.send("work", MARK)
    await layer.send("work", MARK)


async def test_a_message_that_nobody_took_in_time_is_gone(make_layer, taken):
    layer = make_layer(expiry=0.1)
    await layer.send("work", {"type": "old"})
    await asyncio.sleep(0.15)  # the expiry itself, by the real clock: Redis keeps it too
    await layer.send("work", {"type": "new"})
    assert (await taken(layer, "work"))["type"] == "new"


async def test_every_new_channel_has_a_name_of_its_own_whatever_the_random_seed(make_layer):
    layer = make_layer()
    random.seed(1)
    first = await layer.new_channel()
    random.seed(1)
    assert first != await layer.new_channel()


async def test_new_channel_names_are_valid_and_carry_the_prefix(make_layer):
    layer = make_layer()
    channel = await layer.new_channel(prefix="test-chan.")
    assert channel.startswith("test-chan.")
    assert layer.require_valid_channel_name(channel)


BAD_NAMES = ["", "¯\\_(ツ)_/¯", "chat!!", "a b", "=+135!", "x" * 100, b"chat", None, 5, "$", "chat/1"]


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_an_invalid_channel_name_is_refused_everywhere(make_layer, name):
    layer = make_layer()
    for call in (
        layer.send(name, MARK),
        layer.receive(name),
        layer.group_add("group", name),
        layer.group_discard("group", name),
    ):
        with pytest.raises(TypeError, match="Channel name must be"):
            await call


@pytest.mark.parametrize("name", [*BAD_NAMES, "group!1"])
async def test_an_invalid_group_name_is_refused_everywhere(make_layer, name):
    layer = make_layer()
    for call in (
        layer.group_add(name, "chan"),
        layer.group_discard(name, "chan"),
        layer.group_send(name, MARK),
    ):
        with pytest.raises(TypeError, match="Group name must be"):
            await call


async def test_only_dicts_are_messages(make_layer):
    layer = make_layer()
    with pytest.raises(AssertionError):
        await layer.send("work", "text")
    with pytest.raises(AssertionError):
        await layer.group_send("group", ["text"])


async def test_a_group_message_reaches_the_members_and_no_former_member(make_layer, taken):
    layer = make_layer()
    first, second, third = [await layer.new_channel(prefix="test-gr-chan-") for _ in range(3)]
    for channel in (first, second, third):
        await layer.group_add("test-group", channel)
    await layer.group_discard("test-group", second)
    await layer.group_send("test-group", {"type": "message.1"})
    await layer.send(second, MARK)
    assert (await taken(layer, first))["type"] == "message.1"
    assert (await taken(layer, third))["type"] == "message.1"
    assert await taken(layer, second) == MARK


async def test_a_channel_added_twice_gets_a_message_once_and_leaves_at_once(make_layer, taken):
    layer = make_layer()
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    await layer.group_add("group", channel)
    await layer.group_send("group", {"type": "once"})
    await layer.group_discard("group", channel)
    await layer.group_send("group", {"type": "never"})
    await layer.send(channel, MARK)
    assert (await taken(layer, channel))["type"] == "once"
    assert await taken(layer, channel) == MARK


async def test_a_channel_without_an_owner_is_a_member_like_any_other(make_layer, taken):
    layer = make_layer()
    await layer.group_send("group", {"type": "before"})
    await layer.group_add("group", "thumbnails")
    await layer.group_add("group", "thumbnails")
    await layer.group_send("group", {"type": "once", "nested": {"list": [1]}})
    await layer.group_discard("group", "thumbnails")
    await layer.group_discard("group", "thumbnails")
    await layer.group_send("group", {"type": "never"})
    await layer.send("thumbnails", MARK)
    assert await taken(layer, "thumbnails") == {"type": "once", "nested": {"list": [1]}}
    assert await taken(layer, "thumbnails") == MARK


async def test_a_process_with_members_has_channels_without_an_owner_in_the_same_group(make_layer, taken):
    layer = make_layer()
    channel = await layer.new_channel()
    for member in (channel, "thumbnails", "previews"):
        await layer.group_add("group", member)
    for number in range(3):
        await layer.group_send("group", {"type": "event", "number": number})
    for member in (channel, "thumbnails", "previews"):
        assert [(await taken(layer, member))["number"] for _ in range(3)] == [0, 1, 2]


async def test_a_channel_without_an_owner_can_be_excluded_and_gets_no_exclude_key(make_layer, taken):
    layer = make_layer()
    await layer.group_add("group", "thumbnails")
    await layer.group_send("group", {"type": "websocket.send", "text": "1", "exclude": "thumbnails"})
    await layer.group_send("group", {"type": "websocket.send", "text": "2", "exclude": "previews"})
    assert await taken(layer, "thumbnails") == {"type": "websocket.send", "text": "2"}


async def test_a_group_message_passes_over_a_full_channel_without_an_owner(make_layer, taken, caplog):
    layer = make_layer(capacity=3)
    await layer.group_add("group", "thumbnails")
    for number in range(5):
        await layer.group_send("group", {"type": "message", "number": number})
    await layer.group_add("group", "previews")
    await layer.group_send("group", MARK)
    assert await taken(layer, "previews") == MARK
    assert [(await taken(layer, "thumbnails"))["number"] for _ in range(3)] == [0, 1, 2]
    assert layer.statistics.dropped == 3
    assert len([record for record in caplog.records if "is full" in record.message]) == 1


async def test_leaving_a_group_that_one_is_not_in_is_harmless(make_layer):
    layer = make_layer()
    channel = await layer.new_channel()
    await layer.group_discard("group", channel)
    await layer.group_add("group", channel)
    await layer.group_discard("other", channel)


async def test_a_message_to_a_group_of_nobody_is_harmless(make_layer):
    await make_layer().group_send("nobody", {"type": "message"})


async def test_groups_are_apart(make_layer, taken):
    layer = make_layer()
    channel, other = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("group", channel)
    await layer.group_add("other", other)
    await layer.group_send("group", {"type": "for.group"})
    await layer.group_send("other", {"type": "for.other"})
    assert (await taken(layer, channel))["type"] == "for.group"
    assert (await taken(layer, other))["type"] == "for.other"


async def test_a_group_message_passes_over_a_full_channel(make_layer, taken):
    layer = make_layer(capacity=3)
    full, free = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("group", full)
    for number in range(5):
        await layer.group_send("group", {"type": "message", "number": number})
    await layer.group_add("group", free)
    await layer.group_send("group", MARK)
    assert await taken(layer, free) == MARK
    assert [(await taken(layer, full))["number"] for _ in range(3)] == [0, 1, 2]
    assert layer.statistics.dropped == 3


async def test_what_a_receiver_does_to_its_message_no_other_receiver_notices(make_layer, taken):
    layer = make_layer()
    first, second = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("group", first)
    await layer.group_add("group", second)
    await layer.group_send("group", {"type": "message", "list": [1], "nested": {"list": [1]}})
    message = await taken(layer, first)
    message["list"].append(2)
    message["nested"]["list"].append(2)
    message["type"] = "changed"
    assert await taken(layer, second) == {"type": "message", "list": [1], "nested": {"list": [1]}}


@pytest.mark.parametrize("to_group", [True, False])
async def test_what_the_sender_does_to_its_message_afterwards_no_receiver_notices(make_layer, taken, to_group):
    layer = make_layer()
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    message = {"type": "message", "nested": {"list": [1]}}
    await (layer.group_send("group", message) if to_group else layer.send(channel, message))
    message["nested"]["list"].append(2)
    message["type"] = "changed"
    assert await taken(layer, channel) == {"type": "message", "nested": {"list": [1]}}


async def test_the_senders_message_is_left_as_it_was(make_layer):
    layer = make_layer()
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    message = {"type": "websocket.send", "text": "hi", "exclude": channel}
    await layer.group_send("group", message)
    assert message == {"type": "websocket.send", "text": "hi", "exclude": channel}


async def test_exclude_is_the_applications_own_key_in_every_other_message(make_layer, taken):
    layer = make_layer()
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    await layer.group_send("group", {"type": "rooms.event", "exclude": channel})
    assert await taken(layer, channel) == {"type": "rooms.event", "exclude": channel}


async def test_flush_forgets_mail_and_memberships(make_layer, taken):
    layer = make_layer()
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    await layer.group_add("group", "work")
    await layer.send("work", {"type": "before"})
    await layer.send(channel, {"type": "before"})
    await layer.flush()
    await layer.group_send("group", {"type": "never"})
    await layer.send("work", MARK)
    await layer.send(channel, MARK)
    assert await taken(layer, "work") == MARK
    assert await taken(layer, channel) == MARK


async def test_a_layer_can_be_used_after_close(make_layer, taken):
    layer = make_layer()
    await layer.send("work", MARK)
    await layer.close()
    await layer.send("work", MARK)
    assert await taken(layer, "work") == MARK


async def test_numbers_count_from_1_for_each_name(make_layer):
    layer = make_layer()
    assert [await layer.next_number("users") for _ in range(3)] == [1, 2, 3]
    assert await layer.next_number("orders") == 1


async def test_a_layer_that_works_passes_its_check(make_layer):
    await make_layer().check()


def test_channels_are_used_from_one_event_loop_after_another(shared_redis):
    for layer in (FanoutChannelLayer(), FanoutChannelLayer([shared_redis.url], prefix="loops")):
        first = async_to_sync(layer.new_channel)()
        second = async_to_sync(layer.new_channel)()
        async_to_sync(layer.send)(first, {"type": "test.message.1"})
        async_to_sync(layer.send)(second, {"type": "test.message.2"})
        assert async_to_sync(layer.receive)(second) == {"type": "test.message.2"}
        assert async_to_sync(layer.receive)(first) == {"type": "test.message.1"}


def test_a_group_joined_in_one_event_loop_is_sent_to_from_another(shared_redis):
    for layer in (FanoutChannelLayer(), FanoutChannelLayer([shared_redis.url], prefix="loops")):
        channel = async_to_sync(layer.new_channel)()
        async_to_sync(layer.group_add)("group", channel)
        async_to_sync(layer.group_send)("group", MARK)
        assert async_to_sync(layer.receive)(channel) == MARK
