"""Redis commands from any event loop, with connections that are closed together with the loop."""

from __future__ import annotations

import asyncio
import logging

from redis.asyncio import Redis

from realtime.engine.layer.redis.hosts import Hosts

__all__ = ["Clients", "LoopClients"]

logger = logging.getLogger(__name__)


class LoopClients:
    """The clients of one event loop, one for each server, made at first use.

    ``async_to_sync`` in a thread runs each call in an event loop of its own. Such a loop cancels the tasks that are
    left when it ends: a task that waits for this closes the connections.

    Args:
        hosts: the servers.
    """

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._clients: dict[int, Redis] = {}
        self.loop = asyncio.get_running_loop()
        self._keeper = self.loop.create_task(self._close_at_the_end(), name="realtime-layer-clients")

    @property
    def is_closed(self) -> bool:
        """Whether the connections have been closed."""
        return self._keeper.done() or self.loop.is_closed()

    def __getitem__(self, shard: int) -> Redis:
        client = self._clients.get(shard)
        if client is None:
            client = self._clients[shard] = Redis.from_pool(self._hosts[shard].pool())
        return client

    async def aclose(self) -> None:
        """Close the connections."""
        self._keeper.cancel()
        await asyncio.wait([self._keeper])

    async def _close_at_the_end(self) -> None:
        try:
            await self.loop.create_future()
        finally:
            for client in self._clients.values():
                await client.aclose()


class Clients:
    """The clients of every event loop.

    Args:
        hosts: the servers.
    """

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._loops: dict[asyncio.AbstractEventLoop, LoopClients] = {}

    def here(self) -> LoopClients:
        """Return the clients of the running event loop."""
        loop = asyncio.get_running_loop()
        clients = self._loops.get(loop)
        if clients is None or clients.is_closed:
            for other in [other for other, held in list(self._loops.items()) if held.is_closed]:
                self._loops.pop(other, None)
            clients = self._loops[loop] = LoopClients(self._hosts)
        return clients

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        clients = self._loops.pop(asyncio.get_running_loop(), None)
        if clients is not None:
            await clients.aclose()
