"""What a user may do is decided anew when it may have changed, on the user as it is now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from rest_framework_simplejwt.tokens import AccessToken

from realtime.engine.auth.revocation import user_group
from realtime.engine.connections import lease as lease_module
from realtime.engine.connections import reporter as reporter_module
from realtime.engine.connections.lease import current_lease
from realtime.engine.connections.models import LiveConnection
from realtime.engine.connections.reporter import Reporter
from realtime.engine.connections.reporter import reporter as reporter_of_process
from realtime.engine.consumers.consumer import PolicyConsumer
from realtime.engine.protocol.errors import HandshakeRejected
from realtime.engine.testing import create_user

User = get_user_model()

pytestmark = pytest.mark.django_db(transaction=True)

Connect = Callable[..., Any]


class Staff(PolicyConsumer):
    """Lets in staff."""

    authentication = "required"

    async def handshake(self) -> None:
        if not self.user.is_staff:
            raise HandshakeRejected(403, "Only staff may look at this.")


class Reporting(PolicyConsumer):
    """Sends a message each time something may have changed what its user may do."""

    authentication = "required"

    async def access_changed(self) -> None:
        permissions = await sync_to_async(self.user.get_all_permissions)()
        await self.send(text_data=f"{self.user.is_staff} {'auth.view_group' in permissions}")


@pytest.fixture
async def reporter(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reporter]:
    """The periodic look of a process, in a hurry once it is started."""
    monkeypatch.setattr(reporter_module, "INTERVAL", 0)
    monkeypatch.setattr(lease_module, "RENEWAL", 0)
    yield reporter_of_process
    await reporter_of_process.stop()
    await current_lease().close()


@pytest.fixture
async def looks(reporter: Reporter) -> None:
    """The periodic look of a process, from the beginning of the test on."""
    reporter.start()


@pytest.fixture
def ann() -> User:
    return create_user("ann", "secret", is_staff=True)


@pytest.fixture
def group() -> Group:
    return Group.objects.create(name="readers")


@pytest.fixture
def permission() -> Permission:
    return Permission.objects.get(codename="view_group", content_type__app_label="auth")


async def accepted(connect: Connect, user: User, consumer: type[PolicyConsumer]) -> Any:
    headers = [(b"host", b"testserver"), (b"authorization", f"Bearer {AccessToken.for_user(user)}".encode())]
    connection = connect(consumer.as_asgi(), headers=headers)
    assert (await connection.until(1))[0]["type"] == "websocket.accept", connection.sent
    return connection


async def lose_events(user: User) -> None:
    """Let no event reach the connections of a user."""
    for channel in reporter_of_process.connections:
        await get_channel_layer().group_discard(user_group(user.pk), channel)


async def looked_at() -> None:
    """Wait until the process has looked at its connections at least once since they were reported."""
    reported = LiveConnection.objects.exclude(user=None)
    while not await reported.aexists():
        pass
    for number in range(2):  # it is removed at the beginning of a look
        stale = await LiveConnection.objects.acreate(
            channel=f"stale-{number}",
            process="00000000-0000-0000-0000-000000000001",
            endpoint="/ws",
            since="2026-01-01T00:00:00Z",
        )
        while await LiveConnection.objects.filter(pk=stale.pk).aexists():
            pass


async def test_a_lost_staff_flag_closes_what_only_staff_may_have(connect: Connect, ann: User) -> None:
    connection = await accepted(connect, ann, Staff)
    ann.is_staff = False
    await ann.asave()
    event = (await connection.until(2))[1]
    assert (event["code"], event["reason"]) == (3003, "Only staff may look at this.")
    await connection.end()


@pytest.mark.parametrize("way", ["update", "lost event"])
async def test_a_lost_staff_flag_without_an_event_is_found(connect: Connect, looks: None, ann: User, way: str) -> None:
    connection = await accepted(connect, ann, Staff)
    if way == "update":
        await User.objects.filter(pk=ann.pk).aupdate(is_staff=False)
    else:
        await lose_events(ann)
        ann.is_staff = False
        await ann.asave()
    event = (await connection.until(2))[1]
    assert (event["code"], event["reason"]) == (3003, "Only staff may look at this.")
    await connection.end()


async def test_a_change_that_takes_nothing_away_closes_nothing(connect: Connect, ann: User) -> None:
    connection = await accepted(connect, ann, Staff)
    reporting = await accepted(connect, ann, Reporting)
    ann.first_name = "Ann"
    await ann.asave()
    await reporting.until(2)
    assert len(await connection.end()) == 1
    await reporting.end()


async def test_a_user_deleted_by_sql_is_closed(connect: Connect, looks: None, ann: User) -> None:
    connection = await accepted(connect, ann, Reporting)
    await sync_to_async(User.objects.filter(pk=ann.pk)._raw_delete)("default")
    event = (await connection.until(2))[1]
    assert (event["code"], event["reason"]) == (3003, "the account is not active")
    await connection.end()


GRANTS: dict[str, Callable[[User, Group, Permission], Any]] = {
    "permission": lambda user, group, permission: user.user_permissions.add(permission),
    "permission, from its side": lambda user, group, permission: permission.user_set.add(user),
    "group": lambda user, group, permission: (group.permissions.add(permission), user.groups.add(group)),
    "group, from its side": lambda user, group, permission: (
        group.permissions.add(permission),
        group.user_set.add(user),
    ),
    "permission of a group": lambda user, group, permission: (
        user.groups.add(group),
        group.permissions.add(permission),
    ),
    "group of a permission": lambda user, group, permission: (user.groups.add(group), permission.group_set.add(group)),
}

WITHDRAWALS: dict[str, Callable[[User, Group, Permission], Any]] = {
    "permission": lambda user, group, permission: user.user_permissions.remove(permission),
    "permission, from its side": lambda user, group, permission: permission.user_set.clear(),
    "group": lambda user, group, permission: user.groups.clear(),
    "group, from its side": lambda user, group, permission: group.user_set.clear(),
    "permission of a group": lambda user, group, permission: group.permissions.clear(),
    "group of a permission": lambda user, group, permission: permission.group_set.clear(),
}


async def says(connection: Any, text: str) -> None:
    """Wait until the last that a connection says is ``text``."""
    count = 2
    while (sent := await connection.until(count))[-1].get("text") != text:
        assert not connection.task.done(), sent
        count = len(sent) + 1


@pytest.mark.parametrize("kind", GRANTS)
@pytest.mark.parametrize("heard", [True, False], ids=["event", "look"])
async def test_a_permission_is_noticed_when_it_comes_and_when_it_goes(
    connect: Connect, looks: None, ann: User, group: Group, permission: Permission, kind: str, heard: bool
) -> None:
    connection = await accepted(connect, ann, Reporting)
    if not heard:
        await lose_events(ann)
    await looked_at()
    await sync_to_async(GRANTS[kind])(ann, group, permission)
    await says(connection, "True True")
    await looked_at()  # else the look may find what it found before both
    await sync_to_async(WITHDRAWALS[kind])(ann, group, permission)
    await says(connection, "True False")
    await connection.end()


async def test_the_hash_of_the_same_password_that_is_renewed_at_login_closes_nothing(
    connect: Connect, reporter: Reporter, ann: User
) -> None:
    connection = await accepted(connect, ann, Reporting)
    ann.password = "pbkdf2_sha256$1$of$theSamePassword"
    await ann.asave(update_fields=["password"])
    await says(connection, "True False")
    reporter.start()
    another = await accepted(connect, ann, Reporting)
    await looked_at()
    for each in (another, connection):
        assert {event["type"] for event in await each.end()} <= {"websocket.accept", "websocket.send"}
