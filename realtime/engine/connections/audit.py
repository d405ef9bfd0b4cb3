"""Closes connections of this process that have lost their right, and those of users whose rights have changed."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from channels.layers import get_channel_layer

from realtime.engine.auth.revocation import UNDELIVERED, session_event
from realtime.engine.auth.rights import Standing, read_standing
from realtime.engine.auth.sessions import ended_sessions
from realtime.engine.connections.registry import Connection
from realtime.engine.services.database import DatabaseThreads

__all__ = ["Audit"]

logger = logging.getLogger("realtime.live")


class Audit:
    """Compares connections with their users and sessions, and with the audit before.

    Args:
        threads: where the database is read.
    """

    def __init__(self, threads: DatabaseThreads) -> None:
        self._threads = threads
        self._standing = Standing()

    async def run(self, connections: Collection[Connection]) -> None:
        """Send each connection the event for what has changed for it; its consumer closes it or decides again."""
        members = [connection for connection in connections if connection.user_id is not None]
        await self._check_users(members)
        await self._check_sessions(members)

    async def _check_users(self, connections: list[Connection]) -> None:
        before = self._standing
        self._standing = await self._threads.run(read_standing, {connection.user_id for connection in connections})
        for each in connections:
            event = self._standing.event_for(each.user_id, each.generation, each.rights, before)
            if event is not None:
                await _send(each, event)

    async def _check_sessions(self, connections: list[Connection]) -> None:
        sessions = {connection.session for connection in connections if connection.session is not None}
        ended = await self._threads.run(ended_sessions, sessions) if sessions else set()
        for connection in connections:
            if connection.session is not None and connection.session in ended:
                await _send(connection, session_event(connection.session.identity))


async def _send(connection: Connection, event: dict[str, Any]) -> None:
    try:
        await get_channel_layer().send(connection.channel, event)
    except UNDELIVERED as error:
        logger.warning("a connection did not get an event, the next audit sends it again: %s", error)
