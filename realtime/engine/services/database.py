"""Threads for asynchronous code that uses the database.

Django's ``sync_to_async`` runs everything on one thread that all connections share: a slow query of one consumer
delays every other. A ``DatabaseThreads`` has threads of its own, each with a connection that it keeps between calls.
``in_handshake_thread``, ``in_monitor_thread`` and ``in_permission_thread`` are Channels' ``database_sync_to_async`` on
threads of their own, so that a slow application delays neither handshakes nor monitoring.

An HTTP request has a thread that ends with it, and a connection that nothing can use afterwards.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from channels.db import database_sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.core.signals import request_finished
from django.db import InterfaceError, OperationalError, connections, reset_queries

__all__ = [
    "DatabaseCheck",
    "DatabaseThreads",
    "close_connections_of_requests",
    "in_handshake_thread",
    "in_monitor_thread",
    "in_permission_thread",
]

#: Handshakes that ask the database or the cache at the same time. Each takes a few milliseconds.
HANDSHAKE_THREADS = 4
MONITOR_THREADS = 2

#: Permission classes of REST framework that are asked about messages at the same time.
PERMISSION_THREADS = 4

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseThreads:
    """Runs functions that use the database, in as many named threads, with as many connections at most."""

    def __init__(self, name: str, threads: int) -> None:
        self._size = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``function`` returns; it runs in a thread and outside any transaction.

        Raises:
            Exception: whatever ``function`` raises. After an ``OperationalError`` or ``InterfaceError`` the thread's
                connections are closed, and the next call opens new ones.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: _call(function, args, kwargs))

    def close(self) -> None:
        """Wait for the running functions, close the connections and end the threads."""
        all_are_here = threading.Barrier(self._size)  # so that no thread closes twice, and another one not at all

        def close() -> None:
            all_are_here.wait()
            connections.close_all()

        for _ in range(self._size):
            self._pool.submit(close)
        self._pool.shutdown(wait=True)


class DatabaseCheck:
    """Asks the database something, in a thread of its own.

    A thread that waits for a hung database cannot be cancelled. So there is one for all checks, which nobody else
    needs; while it waits, further checks wait for the same answer instead of taking more threads. It opens a
    connection for each check: that is what a new request would have to do.

    Args:
        ask: what runs in the thread.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._threads = DatabaseThreads("health", 1)
        self._asking: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        """Return when the database has answered.

        Raises:
            Exception: whatever the database driver raises.
        """
        if self._asking is None or self._asking.done() or self._asking.get_loop() is not asyncio.get_running_loop():
            self._asking = asyncio.create_task(self._threads.run(self._ask))
            # The one who asked may be gone by the time it fails.
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._asking)


def _with_threads(name: str, threads: int) -> Any:
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    return functools.partial(database_sync_to_async, thread_sensitive=False, executor=pool)


in_handshake_thread = _with_threads("handshake", HANDSHAKE_THREADS)
in_monitor_thread = _with_threads("monitor", MONITOR_THREADS)
in_permission_thread = _with_threads("permission", PERMISSION_THREADS)


def _call(function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
    # Under DEBUG a connection remembers its queries; one that is kept would remember thousands.
    reset_queries()
    try:
        return function(*args, **kwargs)
    except (OperationalError, InterfaceError):
        connections.close_all()
        raise


def close_connections_of_requests() -> None:
    """Close the database connections of each HTTP request at its end, whatever ``CONN_MAX_AGE`` says.

    Under ASGI every request has a thread of its own. A connection that is kept there is never used again: it holds a
    server process of PostgreSQL until Python's garbage collector closes it.
    """
    # Not that of Django's test client, whose requests share the connection of their test.
    request_finished.connect(
        lambda **_: connections.close_all(), sender=ASGIHandler, weak=False, dispatch_uid="realtime.database"
    )
