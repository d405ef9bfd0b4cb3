"""``/ws/admin/live`` on a real server."""

from __future__ import annotations

import json
from urllib.request import Request, urlopen

import pytest

from realtime.engine.testing.client import Refused

ADMIN, ANN = "admin", "ann"


@pytest.fixture
def token_of(server, password):
    """Gets an access token for a demo user."""

    def get(user: str) -> str:
        body = json.dumps({"username": user, "password": password}).encode()
        request = Request(server.http("/api/token/"), body, {"Content-Type": "application/json"})
        with urlopen(request) as response:
            return json.load(response)["access"]

    return get


@pytest.fixture
async def monitor(socket, token_of):
    return await socket("/ws/admin/live", token=token_of(ADMIN))


async def next_of(client, kind: str) -> dict:
    while True:
        message = await client.receive_json()
        if message["type"] == kind:
            return message


async def until(client, condition) -> dict:
    while True:
        message = await next_of(client, "Overview")
        if condition(message):
            return message


async def test_strangers_are_refused_with_401(socket):
    with pytest.raises(Refused, match="401"):
        await socket("/ws/admin/live")


async def test_who_is_not_staff_is_refused_with_403(socket, token_of):
    with pytest.raises(Refused, match="403: Only staff"):
        await socket("/ws/admin/live", token=token_of(ANN))


async def test_an_overview_lists_connections_endpoints_and_rooms(socket, monitor, token_of):
    ann = await socket("/ws/rooms/lobby", token=token_of(ANN))
    assert (await ann.receive_json())["type"] == "Joined"

    def has_ann(message):
        return any(row["user"] == ANN and row["endpoint"] == "/ws/rooms/lobby" for row in message["newest"])

    seen = await until(monitor, has_ann)
    assert seen["processes"] == 1
    assert seen["connections"] >= 2
    assert seen["users"] >= 2
    assert {"path": "/ws/rooms/lobby", "connections": 1} in seen["endpoints"]
    assert any(row["room"] == "lobby" for row in seen["rooms"])


async def test_a_connection_is_ended_by_its_channel(socket, monitor, token_of):
    ann = await socket("/ws/auth", token=token_of(ANN))

    def of_ann(message):
        return [row for row in message["newest"] if row["endpoint"] == "/ws/auth"]

    [row, *_] = of_ann(await until(monitor, of_ann))
    await monitor.send_json({"type": "Disconnect", "channel": row["channel"]})
    end = await ann.closed()
    assert (end.code, end.reason) == (3003, "disconnected by staff")
    assert (await next_of(monitor, "Done"))["detail"] == "Disconnected."


async def test_an_announcement_reaches_the_members(socket, monitor, token_of):
    ann = await socket("/ws/rooms/lobby", token=token_of(ANN))
    await next_of(ann, "Joined")
    await monitor.send_json({"type": "Announce", "room": "lobby", "content": "Maintenance at noon"})
    told = await next_of(ann, "Chat")
    assert (told["user"], told["content"]) == (ADMIN, "Maintenance at noon")
    assert f"message {told['seq']}" in (await next_of(monitor, "Done"))["detail"]


@pytest.mark.parametrize(
    ("command", "detail"),
    [
        ({"type": "Announce", "room": "nowhere", "content": "hello"}, "no room 'nowhere'"),
        ({"type": "Announce", "room": "lobby", "content": "x" * 5000}, "4000"),
        ({"type": "Announce", "room": "lobby"}, "content"),
        ({"type": "Reboot"}, "Reboot"),
        ([], "object"),
    ],
)
async def test_what_cannot_be_done_is_said_and_the_connection_lives_on(monitor, command, detail):
    await monitor.send_json(command)
    assert detail in (await next_of(monitor, "Refused"))["detail"]
    assert await next_of(monitor, "Overview")


async def test_binary_is_closed_with_1003(monitor):
    await monitor.send(b"\x00")
    assert (await monitor.closed()).code == 1003
