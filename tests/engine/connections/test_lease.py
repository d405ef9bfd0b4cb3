"""A process that says it is alive, and one that is counted as gone."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import AsyncIterator

import pytest
from django.utils import timezone

from realtime.engine.connections import lease as lease_module
from realtime.engine.connections.lease import Lease, current_lease
from realtime.engine.connections.models import Process

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def lease(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lease]:
    """The lease of the test's event loop; renewed as often as the loop can."""
    monkeypatch.setattr(lease_module, "RENEWAL", 0)
    lease = current_lease()
    yield lease
    await lease.close()


async def alive() -> set[uuid.UUID]:
    return {process.pk async for process in Process.alive()}


def nothing() -> None:
    """A holder that does not care."""


async def test_a_process_is_alive_while_somebody_holds_its_lease(lease: Lease) -> None:
    def also_nothing() -> None: ...

    await lease.acquire(nothing)
    await lease.acquire(also_nothing)
    assert await alive() == {lease.process}
    await lease.release(nothing)
    assert await alive() == {lease.process}
    await lease.release(also_nothing)
    assert not await Process.objects.aexists()


async def test_a_lease_is_renewed(lease: Lease) -> None:
    await lease.acquire(nothing)
    first = (await Process.objects.aget()).expires_at
    while (await Process.objects.aget()).expires_at <= first:
        pass


async def test_a_process_that_was_counted_as_gone_is_notified_and_is_alive_again(lease: Lease) -> None:
    lost: list[str] = []
    await lease.acquire(lambda: lost.append("lost"))
    while not lost:
        await Process.objects.aupdate(expires_at=timezone.now() - datetime.timedelta(seconds=1))
    while await alive() != {lease.process}:
        pass


async def test_only_leases_that_have_not_run_out_count(lease: Lease) -> None:
    now = timezone.now()
    alive, gone = uuid.uuid4(), uuid.uuid4()
    for process, seconds in ((alive, 5), (gone, -1)):
        await Process.objects.acreate(pk=process, host="h", pid=1, expires_at=now + datetime.timedelta(seconds=seconds))
    assert await lease.processes() == {alive, lease.process}


async def test_the_row_of_a_process_that_is_long_gone_is_swept(lease: Lease) -> None:
    await Process.objects.acreate(
        pk=uuid.uuid4(), host="h", pid=1, expires_at=timezone.now() - datetime.timedelta(minutes=1)
    )
    await lease.acquire(nothing)
    while await Process.objects.acount() > 1:
        pass
