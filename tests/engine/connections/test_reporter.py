"""What the database knows of the connections of a process."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.utils import timezone

from realtime.engine.auth.models import Revocation
from realtime.engine.auth.revocation import revocation_event
from realtime.engine.connections import lease as lease_module
from realtime.engine.connections import reporter as reporter_module
from realtime.engine.connections.lease import Lease, current_lease
from realtime.engine.connections.models import LiveConnection, Process
from realtime.engine.connections.records import Connection
from realtime.engine.connections.reporter import Reporter
from realtime.engine.testing import create_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def reporter(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reporter]:
    """A reporter that hurries."""
    monkeypatch.setattr(reporter_module, "INTERVAL", 0)
    monkeypatch.setattr(lease_module, "RENEWAL", 0)
    reporter = Reporter()
    reporter.start()
    yield reporter
    await reporter.stop()
    await current_lease().close()


def connection(channel: str, user_id: int | None = None) -> Connection:
    """A connection of this moment."""
    return Connection(channel, user_id, "/ws", "127.0.0.1", timezone.now())


async def until(condition: Callable[[set[str]], bool]) -> None:
    """Wait until the channels that the database knows fulfil a condition."""
    while not condition(await sync_to_async(set)(LiveConnection.objects.values_list("channel", flat=True))):
        pass


async def test_connections_appear_and_vanish(reporter: Reporter) -> None:
    reporter.add(connection("a"))
    reporter.add(connection("b"))
    await until(lambda channels: channels == {"a", "b"})
    reporter.discard("a")
    await until(lambda channels: channels == {"b"})
    reporter.discard("b")
    await until(lambda channels: channels == set())
    while await Process.objects.aexists():
        pass  # a process without connections gives its lease back


async def test_a_connection_that_comes_while_the_lease_is_given_back_is_reported(
    reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, released = Lease.release, []

    async def release_slowly(lease: Lease, lost: Callable[[], None]) -> None:
        await release(lease, lost)
        if not released:
            released.append(lease)
            reporter.add(connection("b"))

    monkeypatch.setattr(Lease, "release", release_slowly)
    reporter.add(connection("a"))
    await until(lambda channels: channels == {"a"})
    reporter.discard("a")
    await until(lambda channels: channels == {"b"})


async def test_a_connection_that_gets_a_user_is_reported_again(reporter: Reporter) -> None:
    user = await sync_to_async(create_user)("bob")
    reporter.add(connection("a"))
    await until(lambda channels: channels == {"a"})
    reporter.add(connection("a", user.pk))
    while not await LiveConnection.objects.filter(channel="a", user=user).aexists():
        pass


async def test_what_a_process_that_has_ended_left_behind_is_removed(reporter: Reporter) -> None:
    await LiveConnection.objects.acreate(
        channel="left behind", process="00000000-0000-0000-0000-000000000001", endpoint="/ws", since=timezone.now()
    )
    reporter.add(connection("a"))
    await until(lambda channels: channels == {"a"})


async def test_rows_that_others_have_removed_are_written_again(reporter: Reporter) -> None:
    reporter.add(connection("a"))
    await until(lambda channels: channels == {"a"})
    await LiveConnection.objects.all().adelete()
    while not await LiveConnection.objects.aexists():
        await Process.objects.aupdate(expires_at=timezone.now() - datetime.timedelta(seconds=1))


async def test_a_revocation_whose_event_was_lost_is_found(reporter: Reporter) -> None:
    layer = get_channel_layer()
    channel = await layer.new_channel()
    user = await sync_to_async(create_user)("bob")
    reporter.add(connection(channel, user.pk))
    reporter.add(connection("a bystander"))
    await Revocation.objects.acreate(pk=user.pk, at=timezone.now() + datetime.timedelta(seconds=1), reason="gone")
    assert await layer.receive(channel) == revocation_event("gone")


async def test_a_user_who_is_gone_is_closed_with_the_reason_where_it_is_known(reporter: Reporter) -> None:
    layer = get_channel_layer()
    deleted, vanished = await layer.new_channel(), await layer.new_channel()
    user = await sync_to_async(create_user)("carol")
    number = user.pk
    reporter.add(connection(deleted, number))
    await user.adelete()
    assert await layer.receive(deleted) == revocation_event("the account was deleted")
    reporter.discard(deleted)
    reporter.add(replace(connection(vanished, number), generation=1))
    assert await layer.receive(vanished) == revocation_event("the account is not active")
