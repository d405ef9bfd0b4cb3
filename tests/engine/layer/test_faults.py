"""Redis killed, hung, and cut off; the layer goes on, and says what may have been missed."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from realtime.engine.layer import RESYNCHRONISE, FanoutChannelLayer
from realtime.engine.protocol.errors import UpstreamUnavailable
from realtime.engine.testing import RedisProcess, free_port

MARK = {"type": "mark"}

#: Seconds within which delivery is back once Redis is back.
RECOVERY = 5

#: Notices a server that hangs in a fraction of a second.
SHORT_TIMING = {"connect": 0.5, "command": 0.5, "silence": 0.2}


@pytest.fixture
def wait_until_lost(until):
    """Wait until every layer has noticed that its connection is gone."""

    async def wait_until_lost(*layers: FanoutChannelLayer) -> None:
        await until(lambda: all(layer.statistics.disconnects == layer.statistics.connects for layer in layers))

    return wait_until_lost


async def resynchronised(*members) -> None:
    async with asyncio.timeout(RECOVERY):
        for member in members:
            assert (await member.next_mail())["type"] == RESYNCHRONISE


@pytest.fixture
def process(redis_server: RedisProcess, layers):
    return lambda timing=SHORT_TIMING: layers([redis_server.url], timing=timing)


async def test_after_a_restart_members_resynchronise_and_messages_arrive_again(
    redis_server, process, attach, wait_until_lost
):
    here, there = process(), process()
    members = [await attach(layer, "group", resynchronise=True) for layer in (here, there)]
    redis_server.kill()
    await wait_until_lost(here, there)
    redis_server.start()
    await resynchronised(*members)
    for sender in (here, there):
        await sender.group_send("group", MARK)
    assert [await member.next_mail() for member in members for _ in range(2)] == [MARK] * 4
    assert here.statistics.unpublished == there.statistics.unpublished == 0


async def test_during_an_outage_members_of_the_same_process_hear_each_other(
    redis_server, process, attach, wait_until_lost
):
    layer = process()
    member = (await attach(layer, "group", resynchronise=True)).accept()
    redis_server.kill()
    await wait_until_lost(layer)
    newcomer = (await attach(layer, "group", "new.group", resynchronise=True)).accept()
    await layer.group_send("group", {"type": "websocket.send", "text": "still here"})
    assert (await member.next_frame()).text == (await newcomer.next_frame()).text == "still here"
    with pytest.raises(UpstreamUnavailable, match=f"127.0.0.1:{redis_server.port}/0 cannot be reached"):
        await layer.check()
    redis_server.start()
    await resynchronised(member, newcomer)
    await layer.check()


async def test_a_group_joined_during_an_outage_is_heard_afterwards(redis_server, process, attach, wait_until_lost):
    here, there = process(), process()
    await attach(here, "group")
    await attach(there, "other")
    redis_server.kill()
    await wait_until_lost(here, there)
    newcomer = await attach(there, "group", resynchronise=True)
    redis_server.start()
    await resynchronised(newcomer)
    # The sender may be back later than the receiver: its message waits for it.
    await here.group_send("group", MARK)
    assert await newcomer.next_mail() == MARK


async def test_messages_sent_during_an_outage_wait_for_its_end(redis_server, process, attach, wait_until_lost, until):
    here, there = process(), process()
    member = await attach(there, "group", resynchronise=True)
    await attach(here, "group")
    redis_server.kill()
    await wait_until_lost(here, there)
    for _ in range(3):
        await here.group_send("group", MARK)
    redis_server.start()
    await resynchronised(member)
    await until(lambda: here.statistics.published == 3)
    assert here.statistics.unpublished == 0


async def test_a_server_that_hangs_is_noticed_and_delivery_is_back_when_it_goes_on(
    redis_server, process, attach, wait_until_lost
):
    here, there = process(), process()
    members = [await attach(layer, "group", resynchronise=True) for layer in (here, there)]
    redis_server.pause()
    try:
        async with asyncio.timeout(RECOVERY):  # nobody waits for a server that hangs
            await here.group_send("group", {"type": "local"})
            assert (await members[0].next_mail())["type"] == "local"
            await wait_until_lost(here, there)
            await attach(here, "group", "new.group")
            with pytest.raises(UpstreamUnavailable, match="no answer within"):
                await here.check()
            with pytest.raises(UpstreamUnavailable, match="no answer within"):
                await here.next_number("users")
    finally:
        redis_server.resume()
    await resynchronised(*members)
    for sender in (here, there):
        await sender.group_send("group", MARK)
    assert [await member.next_mail() for member in members for _ in range(2)] == [MARK] * 4


async def test_a_server_that_takes_over_is_found_through_sentinel(redis_server, sentinel, layers, attach, until):
    here, there = (layers([sentinel.host], timing=SHORT_TIMING) for _ in range(2))
    members = [await attach(layer, "group", resynchronise=True) for layer in (here, there)]
    await here.group_send("group", {"type": "before"})
    assert [(await member.next_mail())["type"] for member in members] == ["before"] * 2
    await until(lambda: here.statistics.published == 1)
    successor = RedisProcess()
    try:
        redis_server.kill()
        sentinel.monitor(successor)
        await resynchronised(*members)
        for sender in (here, there):
            await sender.group_send("group", MARK)
        assert [await member.next_mail() for member in members for _ in range(2)] == [MARK] * 4
        await here.close()
        await there.close()
    finally:
        successor.kill()


@pytest.mark.parametrize("turns", range(12))
async def test_a_layer_can_be_closed_while_it_asks_sentinel(sentinel, layers, attach, turns):
    layer = layers([sentinel.host])
    member = await attach(layer, "group")
    await layer.group_send("group", MARK)
    assert await member.next_mail() == MARK
    for _ in range(turns):
        await asyncio.sleep(0)  # one turn of the loop
    async with asyncio.timeout(RECOVERY):
        await layer.close()


async def test_members_resynchronise_after_client_kill_type_pubsub(redis_server, process, attach):
    here, there = process(), process()
    members = [await attach(layer, "group", resynchronise=True) for layer in (here, there)]
    assert redis_server.command("CLIENT KILL TYPE pubsub") == b":2\r\n"
    await resynchronised(*members)
    await here.group_send("group", MARK)
    assert [await member.next_mail() for member in members] == [MARK, MARK]


async def test_no_message_is_lost_after_client_kill_type_normal(redis_server, process, attach, until):
    # On a loaded machine an answer may take longer than the short timing allows.
    here, there = process(None), process(None)
    member = await attach(there, "group", resynchronise=True)
    await attach(here, "group")
    for number in range(5):
        await here.group_send("group", {"type": "event", "number": number})
        assert (await member.next_mail())["number"] == number
        # A connection that is cut before Redis' answer has been read leaves open whether the message went out.
        await until(lambda: here.statistics.published == number + 1)  # noqa: B023  awaited within the iteration
        redis_server.command("CLIENT KILL TYPE normal SKIPME yes")
    assert here.statistics.unpublished == 0


async def test_a_process_that_only_sends_survives_a_restart(redis_server, process, attach):
    listener, sender = process(), process()
    member = await attach(listener, "group", resynchronise=True)
    await sender.group_send("group", {"type": "before"})
    assert (await member.next_mail())["type"] == "before"
    redis_server.kill()
    with pytest.raises(UpstreamUnavailable):
        await sender.group_send("group", {"type": "meanwhile"})
    redis_server.start()
    await resynchronised(member)
    await sender.group_send("group", MARK)
    assert await member.next_mail() == MARK


async def test_numbers_stay_unique_after_a_restart_that_forgot_them(redis_server, process, attach):
    here, there = process(), process()
    members = [await attach(layer, "group", resynchronise=True) for layer in (here, there)]
    numbers = [await layer.next_number("users") for layer in (here, here, there, there, here)]
    redis_server.kill()
    redis_server.start()
    await resynchronised(*members)
    numbers += [await layer.next_number("users") for layer in (there, here, there)]
    assert numbers == list(range(1, 9))


async def test_a_worker_survives_a_restart(redis_server, process):
    worker, sender = process(), process()
    receiving = asyncio.create_task(worker.receive("work"))
    await sender.send("work", {"type": "before"})
    assert (await receiving)["type"] == "before"
    receiving = asyncio.create_task(worker.receive("work"))
    await asyncio.sleep(0)
    redis_server.kill()
    with pytest.raises(UpstreamUnavailable):
        await sender.send("work", {"type": "meanwhile"})
    redis_server.start()
    await sender.send("work", MARK)
    async with asyncio.timeout(RECOVERY):
        assert await receiving == MARK


async def test_a_start_without_redis_is_a_clear_error_and_no_hang(layers, caplog):
    port = free_port()
    layer = layers([f"redis://user:secret@127.0.0.1:{port}/0"])
    with caplog.at_level(logging.ERROR):
        async with asyncio.timeout(RECOVERY):
            channel = await layer.new_channel()
            for call in (
                lambda: layer.group_add("group", channel),
                lambda: layer.receive("work"),
                lambda: layer.send("work", MARK),
                lambda: layer.next_number("users"),
                layer.check,
                layer.flush,
            ):
                with pytest.raises(UpstreamUnavailable, match=f"redis://127.0.0.1:{port}/0 cannot be reached"):
                    await call()
    assert layer.local.groups() == []
    assert f"127.0.0.1:{port}" in caplog.text
    assert "secret" not in caplog.text


async def test_redis_that_comes_after_the_start_is_found(layers, attach, until):
    server = RedisProcess()
    server.kill()
    layer = layers([server.url], timing=SHORT_TIMING)
    channel = await layer.new_channel()
    with pytest.raises(UpstreamUnavailable):
        await layer.group_add("group", channel)
    server.start()
    try:
        await until(lambda: layer.statistics.connects == 1)
        await layer.group_add("group", channel)
        await layer.group_send("group", MARK)
        assert await layer.receive(channel) == MARK
    finally:
        server.kill()


async def test_an_outage_is_logged_once_and_so_is_its_end(redis_server, process, attach, caplog, wait_until_lost):
    layer = process()
    member = await attach(layer, "group", resynchronise=True)
    with caplog.at_level(logging.WARNING, logger="realtime.engine.layer.redis.subscriber"):
        redis_server.kill()
        await wait_until_lost(layer)
        redis_server.start()
        await resynchronised(member)
    assert [record.getMessage().split(" ")[0] for record in caplog.records] == ["The", "Redis"]
    assert layer.statistics.connects == 2


async def test_only_members_that_ask_for_it_resynchronise(redis_server, process, attach):
    layer = process()
    curious, indifferent = await attach(layer, "group", resynchronise=True), await attach(layer, "group")
    redis_server.command("CLIENT KILL TYPE pubsub")
    await resynchronised(curious)
    await layer.group_send("group", MARK)
    assert await indifferent.next_mail() == MARK
    assert layer.statistics.resynchronised == 1


async def test_a_layer_can_be_closed_during_an_outage(redis_server, process, attach, wait_until_lost):
    layer = process()
    await attach(layer, "group")
    redis_server.kill()
    await wait_until_lost(layer)
    await layer.group_send("group", MARK)
    async with asyncio.timeout(RECOVERY):
        await layer.close()
    assert layer.statistics.unpublished == 1


@pytest.mark.soak
@pytest.mark.timeout(120)
async def test_an_idle_connection_outlives_the_socket_timeout_of_redis_py(redis_server, layers, attach):
    here, there = layers([redis_server.url]), layers([redis_server.url])
    member = await attach(there, "group", resynchronise=True)
    await attach(here, "group")
    receiving = asyncio.create_task(there.receive("work"))
    await asyncio.sleep(9)
    await here.group_send("group", MARK)
    assert await member.next_mail() == MARK
    await here.send("work", MARK)
    assert await receiving == MARK
    assert (here.statistics.disconnects, there.statistics.disconnects) == (0, 0)


@pytest.mark.soak
@pytest.mark.timeout(120)
async def test_delivery_is_back_within_5_seconds_after_redis_hung_for_30(redis_server, layers, attach):
    here, there = layers([redis_server.url]), layers([redis_server.url])
    members = [await attach(layer, "group", resynchronise=True) for layer in (here, there)]
    redis_server.pause()
    started = time.monotonic()
    while time.monotonic() - started < 30:
        await here.group_send("group", {"type": "local"})
        assert (await members[0].next_mail())["type"] == "local"
        await asyncio.sleep(0.5)
    redis_server.resume()
    await resynchronised(*members)
    await here.group_send("group", MARK)
    async with asyncio.timeout(RECOVERY):
        while await members[1].next_mail() != MARK:
            pass
