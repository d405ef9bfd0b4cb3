"""The layer from any thread and any event loop."""

from __future__ import annotations

import asyncio
import threading

from asgiref.sync import async_to_sync, sync_to_async

MARK = {"type": "mark"}


async def test_a_thread_sends_to_members_of_the_serving_loop(make_layer, attach):
    layer = make_layer()
    member = (await attach(layer, "group")).accept()

    def view():
        async_to_sync(layer.group_send)("group", {"type": "websocket.send", "text": "direct"})
        async_to_sync(layer.group_send)("group", {"type": "event"})
        async_to_sync(layer.send)(member.channel_name, MARK)

    await asyncio.to_thread(view)
    assert (await member.next_frame()).text == "direct"
    assert {(await member.next_mail())["type"] for _ in range(2)} == {"event", "mark"}


async def test_a_sync_view_sends_to_members_of_the_serving_loop(make_layer, attach):
    layer = make_layer()
    member = await attach(layer, "group")
    await sync_to_async(lambda: async_to_sync(layer.group_send)("group", MARK))()
    assert await member.next_mail() == MARK


async def test_what_one_thread_sends_to_a_group_arrives_in_order(make_layer, attach):
    layer = make_layer(capacity=1000)
    member = (await attach(layer, "group")).accept()

    def send():
        async def main():
            for number in range(500):
                await layer.group_send("group", {"type": "websocket.send", "text": str(number)})

        asyncio.run(main())

    await asyncio.to_thread(send)
    assert [int((await member.next_frame()).text) for _ in range(500)] == list(range(500))


async def test_a_thread_adds_a_channel_of_the_serving_loop_to_a_group(make_layer, attach):
    layer = make_layer()
    member = await attach(layer)
    await asyncio.to_thread(async_to_sync(layer.group_add), "group", member.channel_name)
    await layer.group_send("group", {"type": "in"})
    assert (await member.next_mail())["type"] == "in"
    await asyncio.to_thread(async_to_sync(layer.group_discard), "group", member.channel_name)
    await layer.group_send("group", {"type": "never"})
    await layer.send(member.channel_name, MARK)
    assert await member.next_mail() == MARK


async def test_many_threads_at_once_lose_nothing(make_layer, attach):
    layer = make_layer(capacity=10_000)
    member = (await attach(layer, "group")).accept()
    queue = await layer.new_channel()
    await layer.group_add("group", queue)

    def send(thread):
        async def main():
            for number in range(50):
                await layer.group_send("group", {"type": "websocket.send", "text": f"{thread}.{number}"})

        asyncio.run(main())

    await asyncio.gather(*(asyncio.to_thread(send, thread) for thread in range(8)))
    expected = {f"{thread}.{number}" for thread in range(8) for number in range(50)}
    assert {(await member.next_frame()).text for _ in range(400)} == expected
    assert {(await layer.receive(queue))["text"] for _ in range(400)} == expected


async def test_members_of_two_event_loops_are_each_reached_in_their_own(make_layer, attach):
    layer = make_layer()
    here = (await attach(layer, "group")).accept()
    joined, got = threading.Event(), []

    async def other_loop():
        there = (await attach(layer, "group")).accept()  # asserts that it is called in its own loop
        joined.set()
        got.append((await there.next_frame()).text)
        there.subscription.close()

    thread = threading.Thread(target=asyncio.run, args=(other_loop(),))
    thread.start()
    await asyncio.to_thread(joined.wait)
    await layer.group_send("group", {"type": "websocket.send", "text": "hi"})
    assert (await here.next_frame()).text == "hi"
    await asyncio.to_thread(thread.join)
    assert got == ["hi"]


async def test_a_receiver_in_another_loop_is_woken(make_layer):
    layer = make_layer()
    channel = await layer.new_channel()
    waiting = threading.Event()

    async def receive():
        asyncio.get_running_loop().call_soon(waiting.set)
        return await layer.receive(channel)

    receiving = asyncio.ensure_future(asyncio.to_thread(asyncio.run, receive()))
    await asyncio.to_thread(waiting.wait)
    await layer.send(channel, MARK)
    assert await receiving == MARK


async def test_members_whose_loop_has_ended_are_forgotten(layers, attach):
    layer = layers()
    here = await attach(layer, "group")

    async def forgetful():
        (await attach(layer, "group")).accept()

    await asyncio.to_thread(asyncio.run, forgetful())
    assert len(layer.local) == 2
    await layer.group_send("group", MARK)
    assert await here.next_mail() == MARK
    assert len(layer.local) == 1
