"""How a Daphne server ends: new handshakes are refused, sockets are closed in turn, requests are finished."""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
from typing import Any

from twisted.internet.defer import Deferred

from realtime.engine.server.drain import DRAIN, GRACE
from realtime.engine.server.options import OPTIONS

__all__ = ["drain_at_exit", "drain_before_shutdown"]

logger = logging.getLogger("realtime.wire")

#: A reload of the development server waits no longer than this for its sockets.
RELOAD_DRAIN_SECONDS = 1.0


def drain_before_shutdown(server: Any) -> None:
    """Let a server end in order when its reactor is stopped, as SIGTERM and SIGINT do.

    It takes the place of ``Server.kill_all_applications``, which stops at the first connection that has no application,
    such as a request that was sent by half, and cancels what could finish.
    """
    server.kill_all_applications = lambda: Deferred.fromFuture(
        asyncio.ensure_future(_drain(server, OPTIONS.drain_seconds))
    )


def drain_at_exit(server: Any) -> None:
    """Let a server in a thread end in order when the process exits: the autoreloader calls ``sys.exit()``.

    ``threading._register_atexit`` runs before thread pools are shut down, which a consumer's ``disconnect()`` may need
    for the database; plain ``atexit`` runs after. Call it within the server's event loop.
    """
    loop = asyncio.get_running_loop()

    def drain() -> None:
        if not loop.is_running():
            return
        seconds = min(OPTIONS.drain_seconds, RELOAD_DRAIN_SECONDS)
        ending = asyncio.run_coroutine_threadsafe(_drain(server, seconds), loop)
        try:
            ending.result(seconds + 2 * GRACE)
        except TimeoutError:
            logger.warning("The server did not end within %s s", seconds + 2 * GRACE)

    getattr(threading, "_register_atexit", atexit.register)(drain)


async def _drain(server: Any, seconds: float) -> None:
    requests = [
        instance
        for details in server.connections.values()
        if (instance := details.get("application_instance")) is not None and not instance.done()
    ]
    logger.info("Stopping: %d WebSockets, %d requests in %s s", len(DRAIN.sessions), len(requests), seconds)
    await asyncio.gather(DRAIN.run(seconds), _finish(requests, seconds))


async def _finish(requests: list[asyncio.Future[Any]], seconds: float) -> None:
    """Let ordinary requests finish, then cancel them."""
    if not requests:
        return
    _, late = await asyncio.wait(requests, timeout=seconds)
    for request in late:
        request.cancel()
    if late:
        await asyncio.wait(late, timeout=GRACE)
