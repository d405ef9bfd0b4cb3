"""Writes the connections of this process to the database, in batches, and audits them.

It runs while the process has connections, beside them: opening, using and closing one waits for nothing here.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import uuid
from collections.abc import Collection

from django.db import DatabaseError, InterfaceError, transaction
from redis.exceptions import RedisError

from realtime.engine.auth.rights import Standing
from realtime.engine.connections.audit import audit_sessions, audit_users
from realtime.engine.connections.lease import Lease, current_lease
from realtime.engine.connections.models import LiveConnection
from realtime.engine.connections.registry import Connection, Registry, registry
from realtime.engine.services.database import DatabaseThreads

logger = logging.getLogger("realtime.live")

#: Seconds between two reports. A connection that lives shorter never costs a row.
INTERVAL = 1.0

#: Reports from one audit to the next. With the time that a report takes, what an audit finds ends within 5 s.
REPORTS_BETWEEN_AUDITS = 3

#: Rows in one transaction.
CHUNK = 500


class Reporter:
    """Keeps the rows of this process equal to its registry."""

    def __init__(self, connections: Registry = registry) -> None:
        self._registry = connections
        self._reported: dict[str, Connection] = {}
        self._task: asyncio.Task[None] | None = None
        self._must_start_anew = False
        self._standing = Standing()

    def start(self) -> None:
        """Report from now on; nothing runs before the first connection."""
        self._registry.watchers.append(self._changed)

    async def stop(self) -> None:
        """Stop reporting, and wait until nothing runs. For tests."""
        self._registry.watchers.remove(self._changed)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _changed(self) -> None:
        if self._task is None and self._registry.connections:
            self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())

    def _lease_lost(self) -> None:
        self._must_start_anew = True

    async def _run(self) -> None:
        lease, threads = current_lease(), DatabaseThreads("live", 1)
        try:
            await self._acquire(lease)
            for number in itertools.count():
                if not self._registry.connections and not self._reported:
                    break
                await asyncio.sleep(INTERVAL)
                try:
                    await self._report(lease, threads)
                    if number % REPORTS_BETWEEN_AUDITS == 0:
                        await self._audit(lease, threads)
                except (DatabaseError, InterfaceError, RedisError, OSError) as error:  # sessions may be in the cache
                    logger.warning("live connections could not be reported: %s", error)
            await lease.release(self._lease_lost)
        finally:
            self._task = None
            await asyncio.to_thread(threads.close)

    async def _acquire(self, lease: Lease) -> None:
        while True:
            try:
                return await lease.acquire(self._lease_lost)
            except (DatabaseError, InterfaceError) as error:
                logger.warning("live connections are not reported while the database is away: %s", error)
                await asyncio.sleep(INTERVAL)

    async def _report(self, lease: Lease, threads: DatabaseThreads) -> None:
        if self._must_start_anew:
            await threads.run(LiveConnection.objects.filter(process=lease.process).delete)
            self._must_start_anew, self._reported = False, {}
        current = dict(self._registry.connections)
        outdated = [channel for channel, seen in self._reported.items() if current.get(channel) != seen]
        while channels := outdated[:CHUNK]:
            await threads.run(LiveConnection.objects.filter(channel__in=channels).delete)
            del outdated[:CHUNK]
            for channel in channels:
                del self._reported[channel]
        new = [connection for channel, connection in current.items() if channel not in self._reported]
        while connections := new[:CHUNK]:
            await threads.run(_insert, lease.process, connections)
            del new[:CHUNK]
            self._reported.update((connection.channel, connection) for connection in connections)

    async def _audit(self, lease: Lease, threads: DatabaseThreads) -> None:
        present = await threads.run(set, LiveConnection.objects.values_list("process", flat=True).distinct())
        for process in present - await lease.processes():
            await threads.run(LiveConnection.objects.filter(process=process).delete)
        members = [each for each in self._registry.connections.values() if each.user_id is not None]
        self._standing = await audit_users(members, self._standing, threads)
        await audit_sessions(members, threads)


def report_connections() -> None:
    """Report the connections of this process from now on; call it once, in ``asgi.py``."""
    Reporter().start()


def _insert(process: uuid.UUID, connections: Collection[Connection]) -> None:
    with transaction.atomic():
        LiveConnection.objects.bulk_create(
            LiveConnection(
                channel=connection.channel,
                process=process,
                user_id=connection.user_id,
                endpoint=connection.endpoint[:200],
                address=connection.address[:64],
                since=connection.since,
            )
            for connection in connections
        )
