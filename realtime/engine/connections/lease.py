"""The lease of a process: a row that it renews while it is alive; others count it as gone when it does not."""

from __future__ import annotations

import asyncio
import contextvars
import datetime
import logging
import os
import socket
import uuid
import weakref
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections, transaction
from django.utils import timezone

from realtime.engine.connections.models import Process
from realtime.engine.services.database import DatabaseThreads

__all__ = ["DURATION", "RENEWAL", "Lease", "alive_processes", "check_database", "current_lease"]

logger = logging.getLogger("realtime.live")

#: Seconds after its last renewal at which a process counts as gone.
DURATION = settings.REALTIME_LEASE_SECONDS

#: Seconds between two renewals: one may fail.
RENEWAL = DURATION / 3


class Lease:
    """The lease of this process; renewed while anything holds it.

    Attributes:
        process: identity of the process.
    """

    def __init__(self) -> None:
        self.process = uuid.uuid4()
        # A thread of its own: renewing must not wait behind a load of writes.
        self._threads = DatabaseThreads("lease", 1)
        self._holders: list[Callable[[], None]] = []
        self._renewing: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def acquire(self, lost: Callable[[], None]) -> None:
        """Keep the lease alive until ``release()``.

        Args:
            lost: called when the process has been counted as gone meanwhile, so that its rows must be written again.

        Raises:
            OperationalError: if the database cannot be reached.
        """
        async with self._lock:
            if self._renewing is None:
                await self._threads.run(_write, self.process)
                self._renewing = asyncio.create_task(self._renew(), context=contextvars.Context())
            self._holders.append(lost)

    async def release(self, lost: Callable[[], None]) -> None:
        """Undo one ``acquire()``. The row of a process that holds nothing any more is removed."""
        async with self._lock:
            self._holders.remove(lost)
            if self._holders or self._renewing is None:
                return
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
            self._renewing = None
            try:
                await self._threads.run(_remove, self.process)
            except (DatabaseError, InterfaceError) as error:
                logger.warning("the lease could not be given back, it will run out: %s", error)

    async def processes(self) -> set[uuid.UUID]:
        """Return the processes that are alive, this one included."""
        return {self.process, *await self._threads.run(alive_processes)}

    async def close(self) -> None:
        """End the renewal and close the database connection. For tests."""
        for holder in list(self._holders):
            await self.release(holder)
        await asyncio.to_thread(self._threads.close)
        _leases.pop(asyncio.get_running_loop(), None)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEWAL)
            try:
                if not await self._threads.run(_extend, self.process):
                    logger.warning("this process was counted as gone: its lease had run out")
                    await self._threads.run(_write, self.process)
                    for lost in list(self._holders):
                        lost()
                await self._threads.run(_sweep)
            except (DatabaseError, InterfaceError) as error:
                logger.warning("the lease could not be renewed: %s", error)


def alive_processes() -> set[uuid.UUID]:
    """Return the processes whose lease has not run out. Synchronous."""
    return set(Process.objects.filter(expires_at__gt=timezone.now()).values_list("pk", flat=True))


def _expiry() -> datetime.datetime:
    return timezone.now() + datetime.timedelta(seconds=DURATION)


def _write(process: uuid.UUID) -> None:
    Process.objects.update_or_create(
        pk=process, defaults={"host": socket.gethostname(), "pid": os.getpid(), "expires_at": _expiry()}
    )


def _extend(process: uuid.UUID) -> bool:
    """Renew a lease that has not run out; one that has may have been acted upon already."""
    alive = Process.objects.filter(pk=process, expires_at__gt=timezone.now())
    return alive.update(expires_at=_expiry()) == 1


def _sweep() -> None:
    Process.objects.filter(expires_at__lt=timezone.now() - datetime.timedelta(seconds=DURATION)).delete()


def _remove(process: uuid.UUID) -> None:
    Process.objects.filter(pk=process).delete()


_leases: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Lease] = weakref.WeakKeyDictionary()


def current_lease() -> Lease:
    """Return the lease of the running event loop's process; made at the first call."""
    loop = asyncio.get_running_loop()
    if loop not in _leases:
        _leases[loop] = Lease()
    return _leases[loop]


def check_database() -> None:
    """Commit something, and leave nothing behind: a full disk and a server that can only be read answer queries.

    Raises:
        DatabaseError: if the database cannot be written.
    """
    try:
        with transaction.atomic():
            probe = Process.objects.create(id=uuid.uuid4(), host="health", pid=os.getpid(), expires_at=timezone.now())
            probe.delete()
    finally:
        connections["default"].close()
