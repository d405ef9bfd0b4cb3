"""Several processes on one Redis: each layer object stands for a process."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys

import pytest
from channels.exceptions import ChannelFull

from realtime.engine.layer.group_message import Codec, Kind
from realtime.engine.layer.options import LayerOptions
from realtime.engine.testing import PROJECT_ROOT

MARK = {"type": "mark"}


async def test_a_group_message_reaches_the_members_of_every_process_once(make_process, attach):
    here, there, elsewhere = make_process(), make_process(), make_process()
    members = [(await attach(layer, "group")).accept() for layer in (here, there, elsewhere) for _ in range(2)]
    await here.group_send("group", {"type": "websocket.send", "text": "hi"})
    await there.group_send("group", {"type": "websocket.send", "bytes": b"\x00"})
    for member in members:
        frames = [await member.next_frame() for _ in range(2)]
        assert {(frame.text, frame.data) for frame in frames} == {("hi", None), (None, b"\x00")}
    await elsewhere.group_send("group", {"type": "websocket.send", "text": "end"})
    for member in members:
        assert (await member.next_frame()).text == "end"


async def test_a_message_is_decoded_once_for_all_members_of_a_process(make_process, attach):
    here, there = make_process(), make_process()
    members = [(await attach(there, "group")).accept() for _ in range(3)]
    await here.group_send("group", {"type": "websocket.send", "text": "hi"})
    frames = [await member.next_frame() for member in members]
    assert all(frame is frames[0] for frame in frames)
    assert there.statistics.received == 1


async def test_exclude_holds_in_every_process(make_process, attach):
    here, there = make_process(), make_process()
    author, reader = (await attach(here, "group")).accept(), (await attach(there, "group")).accept()
    for sender in (here, there):
        await sender.group_send("group", {"type": "websocket.send", "text": "1", "exclude": author.channel_name})
    assert [(await reader.next_frame()).text for _ in range(2)] == ["1", "1"]
    await there.group_send("group", {"type": "websocket.send", "text": "2"})
    assert (await author.next_frame()).text == "2"


async def test_the_messages_of_one_process_arrive_in_their_order(make_process, attach):
    here, there = make_process(), make_process()
    member = (await attach(there, "group")).accept()
    await attach(here, "group")
    for number in range(500):
        await here.group_send("group", {"type": "websocket.send", "text": str(number)})
    assert [int((await member.next_frame()).text) for _ in range(500)] == list(range(500))


async def test_a_channel_of_another_process_is_sent_to(make_process, attach, taken):
    here, there = make_process(), make_process()
    member = await attach(there)
    queue = await there.new_channel()
    await here.send(member.channel_name, {"type": "for.the.attached"})
    await here.send(queue, {"type": "for.the.queue"})
    assert await member.next_mail() == {"type": "for.the.attached"}
    assert await taken(there, queue) == {"type": "for.the.queue"}


async def test_a_full_mailbox_of_another_process_is_counted_there(make_process, attach, caplog):
    here, there = make_process(), make_process(capacity=2)
    channel = await there.new_channel()
    for _ in range(5):
        await here.send(channel, {"type": "event"})
    member = await attach(there)
    await here.send(member.channel_name, MARK)
    await member.next_mail()
    assert there.statistics.dropped == 3


async def test_a_channel_of_another_process_is_added_to_a_group_and_taken_out(make_process, attach, until):
    here, there = make_process(), make_process()
    member = await attach(there)
    await here.group_add("group", member.channel_name)
    await until(lambda: "group" in there.local.groups())
    await there.group_send("group", {"type": "in"})
    assert (await member.next_mail())["type"] == "in"
    await here.group_discard("group", member.channel_name)
    await here.send(member.channel_name, MARK)
    assert await member.next_mail() == MARK
    assert there.local.groups() == []


async def test_a_channel_of_another_process_is_neither_attached_nor_received_from(make_process):
    here, there = make_process(), make_process()
    channel = await there.new_channel()
    with pytest.raises(ValueError, match="not one of this process"):
        here.attach(channel, wake=lambda: None)
    with pytest.raises(ValueError, match="not one of this process"):
        await here.receive(channel)


async def test_a_group_message_reaches_a_channel_without_an_owner_once_from_whichever_process(make_process, attach):
    here, there, third = make_process(), make_process(), make_process()
    members = [await attach(layer, "group") for layer in (here, there)]
    await third.group_add("group", "work")
    receivers = [asyncio.create_task(layer.receive("work")) for layer in (here, there) for _ in range(3)]
    for number, layer in enumerate((here, there, third, here, there, third)):
        await layer.group_send("group", {"type": "event", "number": number})
    assert sorted([(await receiver)["number"] for receiver in receivers]) == list(range(6))
    for member in members:
        assert sorted([(await member.next_mail())["number"] for _ in range(6)]) == list(range(6))
    await here.group_discard("group", "work")
    await there.group_send("group", {"type": "never"})
    await third.send("work", MARK)
    async with asyncio.timeout(10):
        assert await here.receive("work") == MARK


async def test_messages_of_one_process_reach_a_channel_without_an_owner_in_their_order(make_process, attach, taken):
    here, there = make_process(), make_process()
    await attach(here, "group")
    for number in range(0, 60, 2):
        await here.group_add("group", "work")
        await here.group_send("group", {"type": "event", "number": number})
        await here.group_discard("group", "work")
        await here.group_send("group", {"type": "never"})
        await here.send("work", {"type": "event", "number": number + 1})
    assert [(await taken(there, "work"))["number"] for _ in range(60)] == list(range(60))


async def test_each_message_of_a_named_channel_goes_to_one_process(make_process):
    here, there, sender = make_process(), make_process(), make_process()
    receivers = [asyncio.create_task(layer.receive("work")) for layer in (here, there) for _ in range(2)]
    for number in range(4):
        await sender.send("work", {"type": "job", "number": number})
    assert sorted([(await receiver)["number"] for receiver in receivers]) == [0, 1, 2, 3]


async def test_work_waits_for_a_worker_that_comes_later_within_its_capacity(make_process, taken):
    sender, worker = make_process(capacity=2), make_process()
    await sender.send("work", {"type": "1"})
    await sender.send("work", {"type": "2"})
    with pytest.raises(ChannelFull):
        await sender.send("work", {"type": "3"})
    assert [(await taken(worker, "work"))["type"] for _ in range(2)] == ["1", "2"]


async def test_numbers_are_unique_across_processes(make_process):
    layers = [make_process() for _ in range(3)]
    numbers = await asyncio.gather(*(layer.next_number("users") for layer in layers for _ in range(10)))
    assert sorted(numbers) == list(range(1, 31))


async def test_projects_with_different_prefixes_do_not_hear_each_other(make_process, attach):
    here, there = make_process(prefix="one"), make_process(prefix="two")
    member = await attach(there, "group")
    await attach(here, "group")
    await here.group_send("group", {"type": "never"})
    await here.next_number("users")
    await there.group_send("group", MARK)
    assert await member.next_mail() == MARK
    assert there.statistics.received == 0


@pytest.mark.parametrize(
    "options", [{"serializer_format": "json"}, {"symmetric_encryption_keys": ["a key"]}, {"capacity": 5}]
)
async def test_processes_with_the_same_options_understand_each_other(make_process, attach, taken, options):
    here, there = make_process(**options), make_process(**options)
    member = await attach(there, "group")
    await here.group_send("group", {"type": "event", "nested": {"list": [1, "ü"]}})
    assert await member.next_mail() == {"type": "event", "nested": {"list": [1, "ü"]}}
    await here.send("work", MARK)
    assert await taken(there, "work") == MARK


async def test_what_cannot_be_decoded_is_counted_and_the_next_message_arrives(make_process, attach, caplog):
    here, there = make_process(symmetric_encryption_keys=["one"]), make_process(symmetric_encryption_keys=["two"])
    other = make_process(symmetric_encryption_keys=["two"])
    member = await attach(there, "group")
    with caplog.at_level(logging.ERROR):
        await here.group_send("group", {"type": "unreadable"})
        await here.next_number("users")
        await other.group_send("group", MARK)
        assert await member.next_mail() == MARK
    assert there.statistics.undecodable == 1
    assert "could not be decoded" in caplog.text


async def test_a_value_that_other_processes_could_not_read_reaches_nobody(make_process, attach):
    here = make_process()
    member = await attach(here, "group")
    with pytest.raises(TypeError):
        await here.group_send("group", {"type": "event", "value": object()})
    await here.group_send("group", MARK)
    assert await member.next_mail() == MARK


async def test_a_group_joined_again_is_heard_again(make_process, attach):
    here, there = make_process(), make_process()
    for number in range(3):
        member = await attach(there, "group")
        await here.group_send("group", {"type": "event", "number": number})
        assert (await member.next_mail())["number"] == number
        member.subscription.close()


async def test_a_group_that_is_left_and_joined_at_once_stays_heard(make_process, attach):
    here, there = make_process(timing={"linger": 0}), make_process()
    member = await attach(here, "group")
    await here.group_discard("group", member.channel_name)
    await here.group_add("group", member.channel_name)
    for number in range(2):  # groups are unsubscribed between two messages
        await there.send(member.channel_name, {"type": "event", "number": number})
        assert (await member.next_mail())["number"] == number
    await there.group_send("group", {"type": "to.the.group"})
    await there.send(member.channel_name, MARK)
    assert await member.next_mail() == {"type": "to.the.group"}


async def test_a_group_whose_last_member_is_replaced_by_a_new_one_stays_heard(make_process, attach):
    here, there = make_process(timing={"linger": 0}), make_process()
    (await attach(here, "group")).subscription.close()
    member = await attach(here, "group")
    for number in range(2):
        await there.send(member.channel_name, {"type": "event", "number": number})
        assert (await member.next_mail())["number"] == number
    await there.group_send("group", {"type": "to.the.group"})
    await there.send(member.channel_name, MARK)
    assert await member.next_mail() == {"type": "to.the.group"}


async def test_joining_a_group_costs_no_round_trip_after_the_first_member(make_process, shared_redis):
    layer = make_process()
    await layer.group_add("group", await layer.new_channel())
    shared_redis.pause()
    try:
        async with asyncio.timeout(1):
            for _ in range(100):
                channel = await layer.new_channel()
                layer.attach(channel, wake=lambda: None)
                await layer.group_add("group", channel)
                await layer.group_discard("group", channel)
    finally:
        shared_redis.resume()


async def test_groups_are_spread_over_several_servers(layers, attach, taken, redis_server, shared_redis):
    urls = [shared_redis.url, redis_server.url]
    here, there = layers(urls, prefix="shards"), layers(urls, prefix="shards")
    groups = [f"group{number}" for number in range(20)]
    member = await attach(there, *groups)
    for group in groups:
        await here.group_send(group, {"type": "event", "group": group})
    assert {(await member.next_mail())["group"] for _ in groups} == set(groups)
    for group in groups:
        await there.group_add(group, "work")
        await here.group_send(group, {"type": "event", "group": group})
    assert {(await taken(there, "work"))["group"] for _ in groups} == set(groups)
    for server in (shared_redis, redis_server):
        assert b"shards:group:" in server.command("PUBSUB CHANNELS shards:group:*")
    await here.check()
    assert there.statistics.connects == 2


SEND = """
import asyncio
from asgiref.sync import async_to_sync
from realtime.engine.layer import FanoutChannelLayer
layer = FanoutChannelLayer([{url!r}], prefix={prefix!r})
async_to_sync(layer.group_send)("group", dict(type="from.a.script", number=1))
async_to_sync(layer.group_send)("group", dict(type="from.a.script", number=2))
async def main():
    await layer.group_send("group", dict(type="from.a.script", number=3))
asyncio.run(main())
"""


async def test_a_script_that_only_sends_is_heard_and_ends_without_a_warning(layers, attach, shared_redis):
    layer = layers([shared_redis.url], prefix="script")
    member = await attach(layer, "group")
    script = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-W", "error", "-c", SEND.format(url=shared_redis.url, prefix="script")],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
    )
    assert (script.returncode, script.stderr) == (0, "")
    assert [(await member.next_mail())["number"] for _ in range(3)] == [1, 2, 3]


async def test_foreign_bytes_on_a_group_are_harmless(make_process, attach, caplog):
    here = make_process(prefix="foreign")
    member = await attach(here, "group")
    codec = Codec(LayerOptions(process="f" * 16), "msgpack", None)
    await here.next_number("any")
    sender = make_process(prefix="foreign")
    for payload in (
        b"",
        b"x",
        b"f" * 16,
        b"f" * 16 + b"\xc1",
        codec.encode(Kind.GROUP, "group", "no dict"),
    ):
        await sender._broker.publish("foreign:group:group", payload)
    await sender.group_send("group", MARK)
    assert await member.next_mail() == MARK
    assert here.statistics.undecodable == 4
