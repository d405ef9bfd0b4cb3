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

logger = logging.getLogger("realtime.live")


async def audit_users(connections: Collection[Connection], before: Standing, threads: DatabaseThreads) -> Standing:
    """Send each connection the event for what has changed since ``before``, which the last audit returned.

    Its consumer closes the connection, or decides again.
    """
    standing = await threads.run(read_standing, {connection.user_id for connection in connections})
    for each in connections:
        event = standing.event_for(each.user_id, each.generation, each.rights, before)
        if event is not None:
            await _send(each, event)
    return standing


async def audit_sessions(connections: Collection[Connection], threads: DatabaseThreads) -> None:
    """Send an event to each connection whose login session has ended."""
    sessions = {connection.session for connection in connections if connection.session is not None}
    ended = await threads.run(ended_sessions, sessions) if sessions else set()
    for connection in connections:
        if connection.session is not None and connection.session in ended:
            await _send(connection, session_event(connection.session.identity))


async def _send(connection: Connection, event: dict[str, Any]) -> None:
    try:
        await get_channel_layer().send(connection.channel, event)
    except UNDELIVERED as error:
        logger.warning("a connection did not get an event, the next audit sends it again: %s", error)
