"""The connection by which a process speaks to the others: one per Redis server, held from one message to the next.

To borrow a connection from a pool and to fill a pipeline for each message would cost three times the message itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from realtime.engine.layer.redis.hosts import Host

__all__ = ["Published", "Publisher"]


class Published(NamedTuple):
    """What became of some messages.

    Args:
        refusals: of the server, one for each message that it has not taken.
        members: the channels in the set of the same name as each Redis channel: those without an owner in that group.
    """

    refusals: list[ResponseError]
    members: dict[str, list[str]]


class Publisher:
    """Publishes messages on one server, by a connection that it makes at need. All its methods run in one event loop.

    Args:
        host: the server.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._pool = host.pool()
        self._connection: Any = None

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> Published:
        """Publish pairs of channel and payload in one round trip, in their order.

        Raises:
            RedisError, OSError: if the connection cannot be made, or is lost before everything is confirmed.
        """
        connection = await self._usable_connection()
        names = dict.fromkeys(channel for channel, _ in messages)
        commands: list[tuple[str | bytes, ...]] = [("PUBLISH", channel, payload) for channel, payload in messages]
        commands += [("SMEMBERS", name) for name in names]
        await connection.send_packed_command(connection.pack_commands(commands))
        refusals = []
        for _ in messages:
            try:
                await connection.read_response()
            except ResponseError as error:
                refusals.append(error)
        members = [[member.decode() for member in await connection.read_response()] for _ in names]
        return Published(refusals, dict(zip(names, members, strict=True)))

    async def aclose(self) -> None:
        """Close the connection."""
        self._connection = None
        await self._pool.aclose()

    async def _usable_connection(self) -> Any:
        connection = self._connection
        if connection is None:
            connection = self._connection = await self._pool.get_connection()
        # Every answer has been read: what there is to read is the end of the connection.
        elif connection.is_connected and await connection.can_read():
            await connection.disconnect(nowait=True)
        if not connection.is_connected:
            await connection.connect()  # not left to sending, which would not ask Sentinel for the server
        return connection
