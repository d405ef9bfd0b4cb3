"""``/ws/admin/live`` on a real server."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission

from realtime.console.consumers import MonitorConsumer
from realtime.engine import HandshakeRejected
from realtime.engine.testing import create_user, login_name
from realtime.engine.testing.client import Refused

ANN = "ann"


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


async def test_anonymous_users_are_refused_with_401(socket):
    with pytest.raises(Refused, match="401"):
        await socket("/ws/admin/live")


async def test_a_user_without_staff_status_is_refused_with_403(socket, token_of):
    with pytest.raises(Refused, match="403: Only staff"):
        await socket("/ws/admin/live", token=token_of(ANN))


@pytest.mark.django_db(transaction=True)
async def test_staff_who_may_not_view_connections_are_refused_with_403():
    consumer = MonitorConsumer()
    consumer.user = await sync_to_async(create_user)("staff", is_staff=True)
    with pytest.raises(HandshakeRejected, match="view live connections") as refusal:
        await consumer.handshake()
    assert refusal.value.status == 403
    await consumer.user.user_permissions.aadd(await Permission.objects.aget(codename="view_liveconnection"))
    consumer.user = await type(consumer.user).objects.aget()  # without the permissions that it remembers
    await consumer.handshake()


async def test_an_overview_lists_connections_and_endpoints(socket, monitor, token_of):
    await socket("/ws/auth", token=token_of(ANN))

    def has_both(message):
        newest = any(row["user"] == login_name(ANN) and row["endpoint"] == "/ws/auth" for row in message["newest"])
        return newest and message["connections"] >= 2  # another query has counted these

    seen = await until(monitor, has_both)
    assert seen["processes"] == 1
    assert seen["users"] >= 2
    assert "/ws/auth" in [row["path"] for row in seen["endpoints"]]
    assert any(row["room"] == "lobby" for row in seen["rooms"])


async def test_a_connection_is_ended_by_its_channel(socket, monitor, token_of):
    ann = await socket("/ws/heartbeat", token=token_of(ANN))  # no other test here opens it

    def of_ann(message):
        return [row for row in message["newest"] if row["endpoint"] == "/ws/heartbeat"]

    [row, *_] = of_ann(await until(monitor, of_ann))
    await monitor.send_json({"type": "Disconnect", "channel": row["channel"]})
    end = await ann.closed()
    assert (end.code, end.reason) == (3003, "disconnected by staff")
    assert (await next_of(monitor, "Done"))["detail"] == "Disconnected."


@pytest.mark.parametrize(
    ("command", "detail"),
    [
        ({"type": "Announce", "room": "lobby"}, "content"),
        ({"type": "Reboot"}, "Reboot"),
        ([], "object"),
    ],
)
async def test_a_command_that_cannot_be_carried_out_gets_an_error_and_closes_nothing(monitor, command, detail):
    await monitor.send_json(command)
    assert detail in (await next_of(monitor, "Refused"))["detail"]
    assert await next_of(monitor, "Overview")


async def test_binary_is_closed_with_1003(monitor):
    await monitor.send(b"\x00")
    assert (await monitor.closed()).code == 1003
