"""Topics of an endpoint, from outside: on one process, and on two that Redis joins."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from typing import Any

import pytest
import websockets

from realtime.engine.testing import ServerProcess, open_socket
from realtime.engine.topics.limits import MAX_METADATA, MAX_NAME
from tests.engine.topics.conftest import SETTINGS, Connect, TopicClient

Processes = list[ServerProcess]


def published(messages: list[dict[str, Any]]) -> list[Any]:
    return [message["data"] for message in messages if message["type"] == "Published"]


async def test_subscribers_in_every_process_get_what_is_published_once_and_the_author_does_not(
    processes: Processes, join: Connect, topic: str
) -> None:
    ann, bob, carol = await join(processes[0]), await join(processes[1]), await join(processes[0])
    for client in (ann, bob, carol):
        subscribed = await client.subscribe(topic)
        assert {**subscribed, "epoch": ""} == {
            "type": "Subscribed",
            "topic": topic,
            "epoch": "",
            "seq": 0,
            "recovered": False,
            "messages": [],
            "present": [],
        }
    for number in range(3):
        await ann.call("publish", topic=topic, data={"number": number})
    for client in (bob, carol):
        messages = [await client.next() for _ in range(3)]
        assert [(message["type"], message["topic"], message["seq"]) for message in messages] == [
            ("Published", topic, seq) for seq in (1, 2, 3)
        ]
        assert published(messages) == [{"number": number} for number in range(3)]
    assert await ann.seen_so_far() == []
    await ann.call("publish", topic=topic, data="mine, too", include_self=True)
    assert (await ann.next())["data"] == "mine, too"


async def test_a_subscriber_that_comes_back_gets_exactly_what_it_missed(
    processes: Processes, join: Connect, topic: str
) -> None:
    ann, bob = await join(processes[0]), await join(processes[1])
    epoch = (await bob.subscribe(topic))["epoch"]
    await ann.call("publish", topic=topic, data=1)
    assert (await bob.next())["seq"] == 1
    await bob.client.close()
    for number in (2, 3):
        await ann.call("publish", topic=topic, data=number)
    bob = await join(processes[1])
    back = await bob.subscribe(topic, since={"epoch": epoch, "seq": 1})
    assert (back["recovered"], back["seq"], published(back["messages"])) == (True, 3, [2, 3])
    await ann.call("publish", topic=topic, data=4)
    assert (await bob.next())["data"] == 4
    fresh = await (await join(processes[0])).subscribe(topic)
    assert (fresh["recovered"], published(fresh["messages"])) == (False, [1, 2, 3, 4])
    other = await (await join(processes[0])).subscribe(topic, since={"epoch": "another", "seq": 1})
    assert (other["recovered"], published(other["messages"])) == (False, [1, 2, 3, 4])


async def test_history_pages_backwards(processes: Processes, join: Connect, topic: str) -> None:
    ann = await join(processes[0])
    for number in range(1, 6):
        await ann.call("publish", topic=topic, data=number)
    page = await ann.call("history", topic=topic, before=4, limit=2)
    assert [entry[0] for entry in page] == [2, 3]


async def test_one_key_is_one_message_from_any_process(processes: Processes, join: Connect, topic: str) -> None:
    ann, again = await join(processes[0]), await join(processes[1])
    await ann.subscribe(topic)
    first = await again.call("publish", topic=topic, data="once", key="k")
    repeat = await again.call("publish", topic=topic, data="once", key="k")
    assert repeat == {**first, "is_repeat": True}
    await again.call("publish", topic=topic, data="last")
    assert [(await ann.next())["data"] for _ in range(2)] == ["once", "last"]


async def test_presence_shows_who_comes_changes_and_goes(processes: Processes, join: Connect, topic: str) -> None:
    ann, bob, viewer = await join(processes[0]), await join(processes[1]), await join(processes[1])
    [me] = (await ann.subscribe(topic, presence={"colour": "red"}))["present"]
    assert me["metadata"] == {"colour": "red"}
    assert (await viewer.subscribe(topic))["present"] == [me]
    both = (await bob.subscribe(topic, presence={"colour": "blue"}))["present"]
    assert {user["metadata"]["colour"] for user in both} == {"red", "blue"}
    came = await ann.next("Presence")
    assert (came["topic"], came["state"], came["metadata"]) == (topic, "joined", {"colour": "blue"})
    await bob.call("update_presence", topic=topic, metadata={"colour": "green"})
    await bob.call("update_presence", topic=topic, metadata={"colour": "green"})
    changed = await ann.next("Presence")
    assert (changed["state"], changed["who"], changed["since"]) == ("updated", came["who"], came["since"])
    assert changed["metadata"] == {"colour": "green"}
    await bob.call("unsubscribe", topic=topic)
    assert await bob.next() == {"type": "Unsubscribed", "topic": topic}
    gone = await ann.next("Presence")
    assert (gone["state"], gone["who"]) == ("left", came["who"])
    assert [(await viewer.next("Presence"))["state"] for _ in range(3)] == ["joined", "updated", "left"]
    assert await ann.call("unsubscribe", topic=topic) is None


async def test_a_connection_that_ends_leaves_every_topic(processes: Processes, join: Connect, topic: str) -> None:
    ann, bob = await join(processes[0]), await join(processes[1])
    for name in (topic, f"{topic}.b"):
        await ann.subscribe(name, presence={})
        await bob.subscribe(name, presence={})
        await ann.next("Presence")
    bob.client.connection.transport.abort()
    gone = [await ann.next("Presence") for _ in range(2)]
    assert {(message["topic"], message["state"]) for message in gone} == {(topic, "left"), (f"{topic}.b", "left")}


async def test_another_subscription_to_a_topic_takes_the_place_of_the_first(
    processes: Processes, join: Connect, topic: str
) -> None:
    ann, bob = await join(processes[0]), await join(processes[1])
    await bob.subscribe(topic)
    epoch = (await ann.subscribe(topic, presence={"n": 1}))["epoch"]
    assert (await bob.next("Presence"))["state"] == "joined"
    await bob.call("publish", topic=topic, data=1)
    await ann.next("Published")
    again = await ann.subscribe(topic, since={"epoch": epoch, "seq": 0}, presence={"n": 2})
    assert published(again["messages"]) == [1]
    assert (await bob.next("Presence"))["state"] == "updated"
    await bob.call("publish", topic=topic, data=2)
    assert published([await ann.next()]) == [2]
    # Without presence, the others see it go.
    await ann.subscribe(topic)
    assert (await bob.next("Presence"))["state"] == "left"


async def test_who_may_not_subscribe_is_refused(processes: Processes, join: Connect, topic: str) -> None:
    ann = await join(processes[0])
    refused = ["MessageRefused", "forbidden", "This topic is closed."]
    assert await ann.call("subscribe", topic=f"{topic}.closed") == refused
    for name in ("a topic", "", "x" * (MAX_NAME + 1), "é"):
        assert (await ann.call("subscribe", topic=name))[:2] == ["TopicGone", "unknown_topic"]
    too_much = await ann.call("subscribe", topic=topic, presence={"x": "x" * MAX_METADATA})
    assert too_much[:2] == ["MessageRefused", "too_large"]
    assert (await ann.call("unsubscribe", topic=topic))[0] == "KeyError"
    assert await ann.subscribe("x" * MAX_NAME)


async def test_who_may_not_stay_is_ended_and_gets_nothing_that_comes_later(
    topics_server: ServerProcess, join: Connect, topic: str
) -> None:
    ann, bob = await join(topics_server), await join(topics_server)
    await ann.subscribe(topic, presence={})
    await bob.call("publish", topic=topic, data="before")
    await bob.call("close_topic", topic=topic)
    await bob.call("publish", topic=topic, data="after")
    assert [await ann.next() for _ in range(2)][1] == {"type": "Unsubscribed", "topic": topic}
    assert await ann.seen_so_far() == []
    assert (await ann.call("subscribe", topic=topic))[1] == "forbidden"


async def test_subscribers_of_a_topic_that_is_deleted_are_ended_and_may_come_again(
    processes: Processes, join: Connect, topic: str
) -> None:
    ann, bob = await join(processes[0]), await join(processes[1])
    before = await ann.subscribe(topic)
    await bob.call("forget", topic=topic)
    assert await ann.next() == {"type": "Unsubscribed", "topic": topic}
    after = await ann.subscribe(topic, since={"epoch": before["epoch"], "seq": 0})
    assert (after["epoch"] != before["epoch"], after["recovered"]) == (True, False)


async def test_code_without_a_connection_publishes(processes: Processes, join: Connect, topic: str) -> None:
    ann, bob = await join(processes[0]), await join(processes[1])
    await ann.subscribe(topic)
    await bob.call("publish_from_a_view", topic=topic, data="from a view")
    message = await ann.next()
    assert (message["data"], message["seq"]) == ("from a view", 1)


@pytest.mark.parametrize("path", ["/ws/topics", "/ws/live"])
async def test_a_plain_group_send_reaches_the_subscribers(
    processes: Processes, join: Connect, topic: str, path: str
) -> None:
    ann, bob = await join(processes[0], path), await join(processes[1], path)
    await ann.subscribe(topic)
    await bob.call("broadcast", group=topic, text='{"type": "Notice"}')
    assert await ann.next() == {"type": "Notice"}


async def test_a_topic_without_a_store_has_live_messages_and_presence(
    processes: Processes, join: Connect, topic: str
) -> None:
    ann, bob = await join(processes[0], "/ws/live"), await join(processes[1], "/ws/live")
    subscribed = await ann.subscribe(topic, presence={"name": "Ann"})
    assert (subscribed["epoch"], subscribed["seq"], subscribed["recovered"]) == ("", 0, False)
    await bob.subscribe(topic, since={"epoch": "", "seq": 0}, presence={"name": "Bob"})
    assert (await ann.next("Presence"))["metadata"] == {"name": "Bob"}
    for number in range(3):
        assert await bob.call("publish", topic=topic, data=number) is None
    await bob.call("publish_from_a_view", topic=topic, data=3)
    messages = [await ann.next() for _ in range(4)]
    assert published(messages) == [0, 1, 2, 3]
    assert all("seq" not in message for message in messages)
    assert published([await bob.next("Published")]) == [3]
    assert await bob.call("history", topic=topic) == []
    fresh = await (await join(processes[0], "/ws/live")).subscribe(topic)
    assert fresh["messages"] == []


async def test_a_topic_has_one_store(topics_server: ServerProcess, join: Connect, topic: str) -> None:
    ann, bob = await join(topics_server), await join(topics_server, "/ws/live")
    await ann.subscribe(topic)
    assert (await bob.call("subscribe", topic=topic))[0] == "ValueError"


async def test_memory_is_refused_where_several_processes_are_joined(
    topics_servers: list[ServerProcess], topics_server: ServerProcess
) -> None:
    async with await open_socket(topics_servers[0].ws("/ws/board")) as client:
        await client.send_json({"type": "Watch", "board": "b"})
        assert (await client.closed()).code == 1011
    assert "use a store that they share" in topics_servers[0].log


@pytest.mark.parametrize("path", ["/ws/board", "/ws/stored-board"])
async def test_the_board_of_the_documents(topics_server: ServerProcess, path: str) -> None:
    board = uuid.uuid4().hex[:8]
    async with await open_socket(topics_server.ws(path)) as ann, await open_socket(topics_server.ws(path)) as bob:
        await ann.send_json({"type": "Watch", "board": board, "colour": "red"})
        subscribed = await ann.receive_json()
        assert (subscribed["type"], subscribed["topic"]) == ("Subscribed", f"board.{board}")
        await bob.send_json({"type": "Watch", "board": board})
        assert len((await bob.receive_json())["present"]) == 2
        assert (await ann.receive_json())["type"] == "Presence"
        await bob.send_json({"type": "Note", "board": board, "text": "hello"})
        assert (await ann.receive_json())["data"] == (await bob.receive_json())["data"] == "hello"
        await bob.send_json({"type": "Watch", "board": "staff", "ref": "r1"})
        refused = {"type": "Error", "code": "forbidden", "detail": "Log in to see this board.", "ref": "r1"}
        assert await bob.receive_json() == refused
        for wrong, code in (
            ({"board": "no such", "type": "Watch"}, "unknown_topic"),
            ({"board": "other", "type": "Note", "text": "hi"}, "not_subscribed"),
            ({"board": board, "type": "Watch", "colour": "x" * 2000}, "too_large"),
        ):
            await bob.send_json(wrong)
            assert (await bob.receive_json())["code"] == code
        since = {"epoch": subscribed["epoch"], "seq": 0}
        await ann.send_json({"type": "Watch", "board": board, "since": since, "colour": "red"})
        back = await ann.receive_json()
        assert (back["recovered"], published(back["messages"])) == (True, ["hello"])


class Reader:
    """Puts a topic's history together over many connections; fails at the first repeat or gap."""

    def __init__(self, join: Connect, processes: Processes, topic: str) -> None:
        self._join = join
        self._processes = processes
        self._topic = topic
        self._epoch = ""
        self.history: list[str] = []

    async def begin(self) -> TopicClient:
        """Subscribe where the history ends."""
        client = await self._join(random.choice(self._processes))
        since = {"since": {"epoch": self._epoch, "seq": len(self.history)}} if self._epoch else {}
        subscribed = await client.subscribe(self._topic, **since)
        assert subscribed["recovered"] or not self._epoch
        self._epoch = subscribed["epoch"]
        for message in subscribed["messages"]:
            self._add(message)
        return client

    async def read_until(self, client: TopicClient, total: int) -> None:
        """Read, leave at random and resume, until the history has ``total`` messages."""
        while True:
            stay = min(total, len(self.history) + random.randint(1, total // 3))
            while len(self.history) < stay:
                self._add(await client.next("Published"))
            client.client.connection.transport.abort()
            if stay == total:
                return
            client = await self.begin()

    def _add(self, message: dict[str, Any]) -> None:
        assert message["seq"] == len(self.history) + 1, "a repeat or a gap"
        self.history.append(message["data"])


async def write(client: TopicClient, topic: str, count: int) -> None:
    name = uuid.uuid4().hex[:8]
    for number in range(count):
        await client.call("publish", topic=topic, data=f"{name} {number}")


async def test_readers_that_come_and_go_read_what_is_stored_in_one_order(
    processes: Processes, join: Connect, topic: str
) -> None:
    readers = [Reader(join, processes, topic) for _ in range(4)]
    clients = [await reader.begin() for reader in readers]  # before the first message: later ones get the newest only
    writers = [await join(processes[number % 2]) for number in range(3)]
    async with asyncio.timeout(100), asyncio.TaskGroup() as group:
        for reader, client in zip(readers, clients, strict=True):
            group.create_task(reader.read_until(client, 60))
        for writer in writers:
            group.create_task(write(writer, topic, 20))
    assert [reader.history for reader in readers] == [readers[0].history] * 4


async def test_messages_arrive_while_redis_is_away_and_the_process_that_stored_them_is_killed(
    database_copy: Any, redis_server: Any, join: Connect, topic: str
) -> None:
    environment = {**SETTINGS, "REDIS_URL": redis_server.url}
    with (
        ServerProcess(database=database_copy, env=environment) as here,
        ServerProcess(database=database_copy, env=environment) as there,
    ):
        ann, bob = await join(here), await join(there)
        await ann.subscribe(topic)
        await bob.call("publish", topic=topic, data="before")
        assert (await ann.next("Published"))["data"] == "before"
        await asyncio.to_thread(redis_server.kill)
        await bob.call("publish", topic=topic, data="meanwhile")
        with contextlib.suppress(websockets.ConnectionClosed):
            await asyncio.to_thread(there.kill)
        assert (await ann.next("Published"))["data"] == "meanwhile"
        await asyncio.to_thread(redis_server.start)
        await ann.call("publish", topic=topic, data="after", include_self=True)
        assert (await ann.next("Published"))["data"] == "after"
