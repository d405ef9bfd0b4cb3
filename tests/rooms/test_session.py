"""The protocol of the rooms, spoken to a server from outside."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from typing import Any

import pytest
import websockets
from django.test import override_settings

from realtime.endpoints.rooms import RoomsConsumer
from realtime.engine import Message
from realtime.engine.testing import login_name

ALICE, BOB, CAROL = (login_name(name) for name in ("alice", "bob", "carol"))


async def test_two_members_talk_and_the_author_gets_the_ack(site: Any, room: str) -> None:
    alice = await site.client("alice")
    bob = await site.client("bob", process=site.other)
    joined = await alice.ask("Join", room=room)
    assert joined == {
        "type": "Joined",
        "room": room,
        "epoch": joined["epoch"],
        "seq": 0,
        "members": [ALICE],
        "recovered": False,
        "messages": [],
    }
    assert (await bob.ask("Join", room=room))["members"] == [ALICE, BOB]
    assert await alice.receive() == {"type": "Presence", "room": room, "user": BOB, "state": "joined"}
    ack = await alice.ask("Chat", content="hi", ref="r-1")
    assert ack == {"type": "Ack", "ref": "r-1", "room": room, "seq": 1, "at": ack["at"]}
    chat = await bob.receive()
    assert chat == {"type": "Chat", "room": room, "seq": 1, "user": ALICE, "content": "hi", "at": ack["at"]}
    assert ack["at"].endswith("Z")
    assert await alice.seen_so_far() == []


async def test_the_author_gets_a_copy_in_other_tabs_only(site: Any, room: str) -> None:
    first = await site.client("alice")
    second = await site.client("alice", process=site.other)
    await first.join(room)
    await second.join(room)
    await first.say("from the first tab")
    assert (await second.until("Chat"))["content"] == "from the first tab"
    assert await first.seen_so_far() == []


async def test_leaving_is_answered_and_the_others_get_a_presence(site: Any, room: str) -> None:
    alice = await site.client("alice")
    bob = await site.client("bob", process=site.other)
    await alice.join(room)
    await bob.join(room)
    await alice.until("Presence")
    assert await bob.ask("Leave", room=room) == {"type": "Left", "room": room}
    assert await alice.receive() == {"type": "Presence", "room": room, "user": BOB, "state": "left"}
    await alice.say("are you there?")
    assert await bob.seen_so_far() == []


async def test_the_address_joins_a_room_at_once_with_and_without_a_slash(site: Any) -> None:
    for path in ("/ws/rooms/lobby", "/ws/rooms/lobby/"):
        client = await site.client(path=path)
        assert (await client.receive())["type"] == "Joined"


def read(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as response:
        return response.read().decode()


async def test_a_process_counts_the_rooms_and_members_it_serves(site: Any) -> None:
    client = await site.client(path="/ws/rooms/lobby")
    assert (await client.receive())["type"] == "Joined"
    page = await asyncio.to_thread(read, site.processes[0].http("/metrics"))
    figures = dict(line.rsplit(" ", 1) for line in page.splitlines() if line[0] != "#")
    assert float(figures["rooms_active"]) >= 1
    assert float(figures["rooms_members"]) >= 1


async def test_an_unknown_room_in_the_address_is_an_error_on_an_open_connection(site: Any) -> None:
    client = await site.client(path="/ws/rooms/no-such-room")
    assert (await client.receive())["code"] == "unknown_room"
    assert (await client.ask("Join", room="lobby"))["type"] == "Joined"


#: id, whether to join first, what is sent, the code of the error.
REFUSALS: list[tuple[str, bool, dict[str, Any], str]] = [
    ("no room", False, {"kind": "Join", "room": "no-such-room"}, "unknown_room"),
    ("a room with an impossible name", False, {"kind": "Join", "room": "no such/room"}, "unknown_room"),
    ("chat before joining", False, {"kind": "Chat", "content": "x"}, "not_joined"),
    ("chat to another room", True, {"kind": "Chat", "content": "x", "room": "elsewhere"}, "not_joined"),
    ("leave before joining", False, {"kind": "Leave", "room": "lobby"}, "not_joined"),
    ("history before joining", False, {"kind": "History", "room": "lobby"}, "not_joined"),
    ("an empty message", True, {"kind": "Chat", "content": ""}, "invalid_message"),
    ("nothing but spaces", True, {"kind": "Chat", "content": " \n"}, "invalid_message"),
    ("a NUL", True, {"kind": "Chat", "content": "a\0b"}, "invalid_message"),
    ("too long", True, {"kind": "Chat", "content": "x" * 4001}, "too_large"),
    ("history from nowhere", True, {"kind": "History", "before": 0}, "invalid_message"),
    ("history from far away", True, {"kind": "History", "before": 10**30}, "invalid_message"),
    ("an empty page", True, {"kind": "History", "limit": 0}, "invalid_message"),
    ("an endless page", True, {"kind": "History", "limit": 10**6}, "invalid_message"),
    ("no token", True, {"kind": "Authenticate", "token": "x.y.z"}, "unauthorized"),
]


@pytest.mark.parametrize(("joins", "message", "code"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
async def test_a_refusal_is_an_error_with_the_ref_and_the_connection_lives(
    site: Any, joins: bool, message: dict[str, Any], code: str
) -> None:
    client = await site.client()
    if joins:
        await client.join("lobby")
    error = await client.ask(**message, ref="r-9")
    assert (error["type"], error["code"], error["ref"]) == ("Error", code, "r-9")
    assert error["detail"]
    assert await client.seen_so_far() == []


async def test_a_binary_message_closes_with_1003(site: Any) -> None:
    client = await site.client()
    await client.socket.send(b"{}")
    with pytest.raises(websockets.ConnectionClosed) as closed:
        await client.receive()
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1003, "binary message on a JSON endpoint")


async def test_a_chat_needs_a_room_in_several_rooms(site: Any, room: str) -> None:
    alice = await site.client("alice")
    await alice.join(room)
    assert (await alice.ask("Chat", content="to the only room"))["room"] == room
    await alice.join("lobby")
    assert (await alice.ask("Chat", content="to which?"))["code"] == "invalid_message"
    assert (await alice.ask("Chat", content="to this one", room=room))["type"] == "Ack"


async def test_a_repeated_message_gets_the_same_ack_from_any_process(site: Any, room: str) -> None:
    alice = await site.client("alice")
    again = await site.client("alice", process=site.other)
    bob = await site.client("bob")
    for client in (alice, again, bob):
        await client.join(room)
    first = await alice.ask("Chat", content="once", ref="same")
    while first["type"] != "Ack":
        first = await alice.receive()
    await again.send("Chat", content="once", ref="same")
    assert await again.until("Ack") == first
    await alice.send("Chat", content="another text with an old ref", ref="same")
    assert (await alice.until("Ack"))["seq"] == 2
    await alice.say("last")
    seen = [await bob.until("Chat") for _ in range(3)]
    assert [chat["content"] for chat in seen] == ["once", "another text with an old ref", "last"]


async def test_resuming_gives_exactly_what_was_missed(site: Any, room: str) -> None:
    alice = await site.client("alice")
    bob = await site.client("bob", process=site.other)
    epoch = (await alice.join(room))["epoch"]
    await bob.join(room)
    for number in range(3):
        await alice.say(f"before {number}")
    await bob.until("Chat", seq=3)
    await bob.socket.close()
    for number in range(4):
        await alice.say(f"after {number}")
    bob = await site.client("bob", process=site.other)
    joined = await bob.join(room, since={"epoch": epoch, "seq": 3})
    assert joined["recovered"] is True
    assert [(chat["seq"], chat["content"]) for chat in joined["messages"]] == [
        (number + 4, f"after {number}") for number in range(4)
    ]
    await alice.say("live again")
    assert (await bob.until("Chat"))["seq"] == 8


@pytest.mark.parametrize(
    "since",
    [
        pytest.param({"epoch": "00000000-0000-0000-0000-000000000000", "seq": 0}, id="another numbering"),
        pytest.param({"epoch": None, "seq": 10**9}, id="a number that was never given out"),
    ],
)
async def test_a_position_that_is_none_gets_the_newest_messages(site: Any, room: str, since: dict[str, Any]) -> None:
    alice = await site.client("alice")
    epoch = (await alice.join(room))["epoch"]
    for number in range(60):
        await alice.send("Chat", content=str(number))
    for _ in range(60):
        await alice.until("Ack")
    bob = await site.client("bob")
    joined = await bob.join(room, since={**since, "epoch": since["epoch"] or epoch})
    assert joined["recovered"] is False
    assert [chat["seq"] for chat in joined["messages"]] == list(range(11, 61))
    assert joined["seq"] == 60


async def test_history_pages_backwards_without_moving(site: Any, room: str) -> None:
    alice = await site.client("alice")
    await alice.join(room)
    for number in range(1, 26):
        await alice.send("Chat", content=str(number))
    for _ in range(25):
        await alice.until("Ack")
    pages, before = [], None
    while True:
        await alice.send("History", limit=10, **({} if before is None else {"before": before}))
        page = (await alice.until("History"))["messages"]
        if not page:
            break
        pages.append([chat["seq"] for chat in page])
        before = page[0]["seq"]
        await alice.say("a newer message does not move the pages")
    assert pages == [list(range(16, 26)), list(range(6, 16)), list(range(1, 6))]


async def test_an_anonymous_user_signs_in_by_a_token(site: Any, room: str) -> None:
    bob = await site.client("bob", process=site.other)
    await bob.join(room)
    client = await site.client()
    anonymous = next(name for name in (await client.join(room))["members"] if name != BOB)
    assert (await client.ask("Chat", content="x"))["code"] == "forbidden"
    authenticated = await client.ask("Authenticate", token=site.token("alice"))
    assert (authenticated["type"], authenticated["user"]) == ("Authenticated", ALICE)
    presences = [await bob.until("Presence") for _ in range(3)]
    assert sorted((event["user"], event["state"]) for event in presences) == sorted(
        [(anonymous, "joined"), (anonymous, "left"), (ALICE, "joined")]
    )
    await client.say("now I may")
    assert (await bob.until("Chat"))["user"] == ALICE
    refused = await client.ask("Authenticate", token=site.token("bob"))
    assert refused["code"] == "unauthorized"


async def test_a_user_with_three_tabs_comes_once_and_goes_once(site: Any, room: str) -> None:
    bob = await site.client("bob")
    await bob.join(room)
    tabs = [await site.client("alice", process=process) for process in (*site.processes, site.processes[0])]
    for tab in tabs:
        assert (await tab.join(room))["members"] == [ALICE, BOB]
    for tab in tabs:
        await tab.socket.close()
    await bob.until("Presence", user=ALICE, state="joined")
    # What happens before alice has gone for good would come before carol.
    carol = await site.client("carol", process=site.other)
    seen = [await bob.until("Presence")]
    await carol.join(room)
    seen.append(await bob.until("Presence"))
    assert [(event["user"], event["state"]) for event in seen] == [(ALICE, "left"), (CAROL, "joined")]


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
async def test_a_plain_group_send_reaches_the_members_from_another_process(site: Any, room: str) -> None:
    alice = await site.client("alice")
    bob = await site.client("bob", process=site.other)
    await alice.join(room)
    await bob.join(room)
    await site.manage(
        "from asgiref.sync import async_to_sync\n"
        "from channels.layers import get_channel_layer\n"
        "send = async_to_sync(get_channel_layer().group_send)\n"
        f"send('room.{room}', " + "{'type': 'websocket.send', 'text': '{\"type\": \"Notice\"}'})"
    )
    for client in (alice, bob):
        await client.until("Notice")


async def test_a_posted_message_reaches_the_members(site: Any, room: str) -> None:
    alice = await site.client("alice")
    await alice.join(room)
    status, body = await site.api("POST", f"/api/rooms/{room}/messages/", "bob", content="by HTTP", ref="h1")
    assert (status, body["seq"], body["user"]) == (201, 1, BOB)
    assert (await alice.until("Chat"))["content"] == "by HTTP"
    assert await site.api("POST", f"/api/rooms/{room}/messages/", "bob", content="by HTTP", ref="h1") == (200, body)
    assert await alice.seen_so_far() == []


async def test_a_removed_member_gets_nothing_more(site: Any, room: str) -> None:
    alice = await site.client("alice")
    bob = await site.client("bob", process=site.other)
    await alice.join(room)
    await bob.join(room)
    assert (await site.api("DELETE", f"/api/rooms/{room}/memberships/{BOB}/", "alice"))[0] == 204
    await alice.say("bob must not read this")
    assert await bob.until("Left") == {"type": "Left", "room": room}
    assert [message["type"] for message in await bob.seen_so_far()] == []


async def test_a_member_may_remain_in_twenty_rooms(site: Any, room: str) -> None:
    alice = await site.client("alice")
    for number in range(20):
        await alice.join(f"{room}-{number}")
    assert (await alice.ask("Join", room=f"{room}-20"))["code"] == "forbidden"
    await alice.ask("Leave", room=f"{room}-0")
    await alice.join(f"{room}-20")


class Recorder(RoomsConsumer):
    """A consumer that keeps what it sends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[dict[str, Any]] = []

    async def send_message(self, message: Message) -> None:
        """Keep a message."""
        self.sent.append(json.loads(message.as_str()))


async def test_messages_over_the_rate_are_refused_and_no_other_is_lost() -> None:
    # At this rate nothing is allowed again within the life of a test.
    with override_settings(REALTIME_ROOMS={"messages_per_second": 0.0001, "burst": 3}):
        consumer = Recorder()
        for number in range(5):
            await consumer.receive_message(Message.text(json.dumps({"type": "Ping", "ref": str(number)})))
    assert [answer["type"] for answer in consumer.sent] == ["Pong"] * 3 + ["Error"] * 2
    assert [(answer["code"], answer["ref"]) for answer in consumer.sent[3:]] == [
        ("rate_limited", "3"),
        ("rate_limited", "4"),
    ]


async def test_a_newer_token_keeps_a_connection_beyond_the_end_of_the_first(site: Any) -> None:
    ends_soon = {"exp": int(time.time()) + 3}
    renewed = await site.client("alice", **ends_soon)
    forgotten = await site.client("alice", **ends_soon)
    answer = await renewed.ask("Authenticate", token=site.token("alice"))
    assert answer["type"] == "Authenticated"
    with pytest.raises(websockets.ConnectionClosed) as closed:
        await forgotten.receive()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 3000
    assert await renewed.ask("Ping") == {"type": "Pong"}
