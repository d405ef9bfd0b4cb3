"""The connections of this process: in memory, and from there in the database, where it also audits them.

Consumers add their connections, which neither writes nor sends. Beside them a task writes what has changed to the
database, in batches: opening, using and closing a connection waits for nothing here.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import uuid

from django.db import DatabaseError, InterfaceError
from redis.exceptions import RedisError

from realtime.engine.connections.audit import Audit
from realtime.engine.connections.lease import Lease, current_lease
from realtime.engine.connections.models import LiveConnection
from realtime.engine.connections.records import Connection
from realtime.engine.services.database import DatabaseThreads

logger = logging.getLogger("realtime.live")

#: Seconds between two reports. A connection that lives shorter never costs a row.
INTERVAL = 1.0

#: Reports from one audit to the next. With the time that a report takes, what an audit finds ends within 5 s.
REPORTS_BETWEEN_AUDITS = 3

#: Rows in one statement.
CHUNK = 500


class Reporter:
    """Keeps the rows of this process equal to its connections. For use in one event loop.

    Attributes:
        connections: the open connections by channel name; to be read only.
    """

    def __init__(self) -> None:
        self.connections: dict[str, Connection] = {}
        self._reported: dict[str, Connection] = {}
        self._is_started = self._must_start_anew = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Report from now on; nothing runs before the first connection."""
        self._is_started = True

    async def stop(self) -> None:
        """Stop reporting, and wait until nothing runs. For tests."""
        self._is_started = False
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def add(self, connection: Connection) -> None:
        """Store a connection, or its new user."""
        self.connections[connection.channel] = connection
        self._run_if_needed()

    def discard(self, channel: str) -> None:
        """Forget a connection that has ended; harmless for an unknown one."""
        self.connections.pop(channel, None)

    def _start_anew(self) -> None:
        self._must_start_anew = True

    def _run_if_needed(self) -> None:
        if self._is_started and self._task is None and self.connections:
            self._task = asyncio.create_task(self._run(), context=contextvars.Context())

    async def _run(self) -> None:
        lease, threads, audit = current_lease(), DatabaseThreads("live", 1), Audit()
        self._start_anew()
        try:
            for number in itertools.count():
                await asyncio.sleep(INTERVAL)
                try:
                    await lease.acquire(self._start_anew)
                    await self._report(lease, threads)
                    if not self.connections and not self._reported:
                        break
                    if number % REPORTS_BETWEEN_AUDITS == 0:
                        await self._remove_left_behind(lease, threads)
                        members = [each for each in self.connections.values() if each.user_id is not None]
                        await audit.run(members, threads)
                except (DatabaseError, InterfaceError, RedisError, OSError) as error:  # sessions may be in the cache
                    logger.warning("live connections could not be reported: %s", error)
            await lease.release(self._start_anew)
        finally:
            self._task = None
            await asyncio.to_thread(threads.close)
        self._run_if_needed()  # for a connection that came while the lease was given back

    async def _report(self, lease: Lease, threads: DatabaseThreads) -> None:
        if self._must_start_anew:
            await threads.run(LiveConnection.objects.filter(process=lease.process).delete)
            self._must_start_anew, self._reported = False, {}
        current = dict(self.connections)
        outdated = [channel for channel, seen in self._reported.items() if current.get(channel) != seen]
        for start in range(0, len(outdated), CHUNK):
            rows = LiveConnection.objects.filter(channel__in=outdated[start : start + CHUNK])
            await threads.run(rows.delete)
        new = [_row(each, lease.process) for channel, each in current.items() if self._reported.get(channel) != each]
        # What is there already was written by a report that failed later.
        await threads.run(LiveConnection.objects.bulk_create, new, batch_size=CHUNK, ignore_conflicts=True)
        self._reported = current

    async def _remove_left_behind(self, lease: Lease, threads: DatabaseThreads) -> None:
        present = await threads.run(set, LiveConnection.objects.values_list("process", flat=True).distinct())
        for process in present - await lease.processes():
            await threads.run(LiveConnection.objects.filter(process=process).delete)


def _row(connection: Connection, process: uuid.UUID) -> LiveConnection:
    return LiveConnection(
        channel=connection.channel,
        process=process,
        user_id=connection.user_id,
        endpoint=connection.endpoint[:200],
        address=connection.address[:64],
        since=connection.since,
    )


#: The reporter of this process.
reporter = Reporter()
