"""The console with the rooms: its live page shows them, and announces something in them."""

from __future__ import annotations

import pytest

from realtime.engine.testing import login_name


async def next_of(client, kind: str) -> dict:
    while True:
        message = await client.receive_json()
        if message["type"] == kind:
            return message


async def test_an_overview_lists_the_rooms(socket, monitor, token_of):
    ann = await socket("/ws/rooms/lobby", token=token_of("ann"))
    await next_of(ann, "Joined")
    seen = await next_of(monitor, "Overview")
    while {"path": "/ws/rooms/lobby", "connections": 1} not in seen["endpoints"]:
        seen = await next_of(monitor, "Overview")
    assert any(row["endpoint"] == "/ws/rooms/lobby" for row in seen["newest"])
    assert any(row["room"] == "lobby" for row in seen["rooms"])


async def test_an_announcement_reaches_the_members(socket, monitor, token_of):
    ann = await socket("/ws/rooms/lobby", token=token_of("ann"))
    await next_of(ann, "Joined")
    await monitor.send_json({"type": "Announce", "room": "lobby", "content": "Maintenance at noon"})
    chat = await next_of(ann, "Chat")
    assert (chat["user"], chat["content"]) == (login_name("admin"), "Maintenance at noon")
    assert (await next_of(monitor, "Done"))["detail"] == "Announced."


@pytest.mark.parametrize(
    ("command", "detail"),
    [
        ({"type": "Announce", "room": "nowhere", "content": "hello"}, "no room of this name"),
        ({"type": "Announce", "room": "lobby", "content": "x" * 5000}, "4000"),
    ],
)
async def test_what_cannot_be_announced_is_refused(monitor, command, detail):
    await monitor.send_json(command)
    assert detail in (await next_of(monitor, "Refused"))["detail"]
