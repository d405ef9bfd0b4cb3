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

__all__ = ["DURATION", "RENEWAL", "Lease", "check_database", "current_lease"]

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
        self._holders: set[Callable[[], None]] = set()
        self._renewing: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def acquire(self, lost: Callable[[], None]) -> None:
        """Keep the lease alive until ``release()``; harmless for one that holds it.

        Args:
            lost: called when the process has been counted as gone meanwhile, so that its rows must be written again.

        Raises:
            OperationalError: if the database cannot be reached.
        """
        async with self._lock:
            if self._renewing is None:
                await self._threads.run(_write, self.process)
                self._renewing = asyncio.create_task(self._renew(), context=contextvars.Context())
            self._holders.add(lost)

    async def release(self, lost: Callable[[], None]) -> None:
        """Undo ``acquire()``. The row of a process that holds nothing any more is removed."""
        async with self._lock:
            self._holders.discard(lost)
            if self._holders or self._renewing is None:
                return
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
            self._renewing = None
            try:
                await self._threads.run(Process.objects.filter(pk=self.process).delete)
            except (DatabaseError, InterfaceError) as error:
                logger.warning("the lease could not be given back, it will run out: %s", error)

    async def processes(self) -> set[uuid.UUID]:
        """Return the processes that are alive, this one included."""
        return {self.process, *await self._threads.run(set, Process.alive().values_list("pk", flat=True))}

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
                # A lease that has run out is not renewed: others may have acted upon that already.
                alive = Process.alive().filter(pk=self.process)
                if not await self._threads.run(alive.update, expires_at=_expiry()):
                    logger.warning("this process was counted as gone: its lease had run out")
                    await self._threads.run(_write, self.process)
                    for lost in list(self._holders):
                        lost()
                long_gone = timezone.now() - datetime.timedelta(seconds=DURATION)
                await self._threads.run(Process.objects.filter(expires_at__lt=long_gone).delete)
            except (DatabaseError, InterfaceError) as error:
                logger.warning("the lease could not be renewed: %s", error)


def _expiry() -> datetime.datetime:
    return timezone.now() + datetime.timedelta(seconds=DURATION)


def _write(process: uuid.UUID) -> None:
    fields = {"host": socket.gethostname(), "pid": os.getpid(), "expires_at": _expiry()}
    Process.objects.update_or_create(pk=process, defaults=fields)


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
            Process.objects.create(id=uuid.uuid4(), host="health", pid=0, expires_at=timezone.now()).delete()
    finally:
        connections["default"].close()
