"""Writes the connections of this process to the database, in batches, and ends those that have lost their right.

It runs while the process has connections, beside them: opening, using and closing one waits for nothing here.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import uuid
from collections.abc import Collection, Iterable
from itertools import islice
from typing import Any

from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from django.db import DatabaseError, InterfaceError, transaction
from redis.exceptions import RedisError

from realtime.engine.auth.revocation import session_event
from realtime.engine.auth.sessions import ended_sessions
from realtime.engine.connections.lease import Lease, current_lease
from realtime.engine.connections.models import LiveConnection
from realtime.engine.connections.registry import Connection, Registry, registry
from realtime.engine.connections.standing import Standing, read_standing
from realtime.engine.database import DatabaseThreads

__all__ = ["Reporter", "report_connections"]

logger = logging.getLogger("realtime.live")

#: Seconds between two reports. A connection that lives shorter never costs a row.
INTERVAL = 1.0

#: Rounds from one look to the next for what no event told of: changes of accounts, sessions that have ended, and
#: rows of processes that have ended. With the time that a round takes, what is found ends within 5 s.
ROUNDS_BETWEEN_AUDITS = 3

#: Rows in one transaction.
CHUNK = 500


class Reporter:
    """Keeps the rows of this process equal to its registry.

    Args:
        connections: the registry to watch.
    """

    def __init__(self, connections: Registry = registry) -> None:
        self._registry = connections
        self._reported: dict[str, Connection] = {}
        self._task: asyncio.Task[None] | None = None
        self._must_start_anew = False
        self._standing = Standing()

    def start(self) -> None:
        """Report from now on; nothing runs before the first connection."""
        self._registry.watch(self._changed)

    async def stop(self) -> None:
        """Do not report any more, and wait until nothing runs. For tests."""
        self._registry.unwatch(self._changed)
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
            rounds = 0
            while self._registry.connections or self._reported:
                await asyncio.sleep(INTERVAL)
                await self._report(lease, threads, is_audit=rounds % ROUNDS_BETWEEN_AUDITS == 0)
                rounds += 1
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

    async def _report(self, lease: Lease, threads: DatabaseThreads, *, is_audit: bool) -> None:
        try:
            if self._must_start_anew:
                await threads.run(_forget_processes, [lease.process])
                self._must_start_anew, self._reported = False, {}
            await self._write_changes(lease.process, threads)
            if is_audit:
                await self._audit(lease, threads)
        except (DatabaseError, InterfaceError, RedisError, OSError) as error:  # sessions may be in the cache
            logger.warning("live connections could not be reported: %s", error)

    async def _write_changes(self, process: uuid.UUID, threads: DatabaseThreads) -> None:
        current = dict(self._registry.connections)
        outdated = [channel for channel, seen in self._reported.items() if current.get(channel) != seen]
        for chunk in _chunks(outdated):
            await threads.run(_delete, chunk)
            for channel in chunk:
                del self._reported[channel]
        new = [connection for channel, connection in current.items() if channel not in self._reported]
        for batch in _chunks(new):
            await threads.run(_insert, process, batch)
            self._reported.update((connection.channel, connection) for connection in batch)

    async def _audit(self, lease: Lease, threads: DatabaseThreads) -> None:
        present = await threads.run(_processes_present)
        await threads.run(_forget_processes, present - await lease.processes())
        connections = [c for c in self._registry.connections.values() if c.user_id is not None]
        await self._audit_users(connections, threads)
        await self._audit_sessions(connections, threads)

    async def _audit_users(self, connections: list[Connection], threads: DatabaseThreads) -> None:
        before = self._standing
        self._standing = await threads.run(read_standing, {connection.user_id for connection in connections})
        for connection in connections:
            event = self._standing.event_for(connection, before)
            if event is not None:
                await self._tell(connection, event)

    async def _audit_sessions(self, connections: list[Connection], threads: DatabaseThreads) -> None:
        sessions = {connection.session for connection in connections if connection.session is not None}
        ended = await threads.run(ended_sessions, sessions) if sessions else set()
        for connection in connections:
            if connection.session is not None and connection.session in ended:
                await self._tell(connection, session_event(connection.session.identity))

    async def _tell(self, connection: Connection, event: dict[str, Any]) -> None:
        try:
            await get_channel_layer().send(connection.channel, event)
        except (RedisError, OSError, ChannelFull) as error:
            logger.warning("a connection could not be told what has changed for it, it will be: %s", error)


def report_connections() -> None:
    """Report the connections of this process from now on; the composition root calls it once."""
    Reporter().start()


def _chunks(items: Iterable[Any]) -> Iterable[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


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


def _delete(channels: Collection[str]) -> None:
    LiveConnection.objects.filter(channel__in=channels).delete()


def _processes_present() -> set[uuid.UUID]:
    return set(LiveConnection.objects.values_list("process", flat=True).distinct())


def _forget_processes(processes: Collection[uuid.UUID]) -> None:
    if processes:
        LiveConnection.objects.filter(process__in=processes).delete()
