"""The Redis servers of a layer: configured as channels_redis does, several of them as shards."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from channels_redis.utils import create_pool, decode_hosts
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import RedisError

from realtime.engine.layer.options import Timing
from realtime.engine.protocol.errors import UpstreamUnavailable

#: An idle connection of redis-py 8 has a read timeout of 5 s, as long as its blocking pops wait: it would be killed
#: while it waits for a message. Nothing here waits without a timeout of its own, so that the socket needs none.
#: With one, redis-py writes below ``asyncio.wait_for()``, which loses some cancellations before Python 3.12.
#: RESP2: with RESP3 a pool does not notice that an idle connection was closed by the server, and the next command
#: fails (redis-py skips the check while maintenance notifications are enabled).
CONNECTION_DEFAULTS: dict[str, Any] = {"socket_timeout": None, "protocol": 2, "health_check_interval": 15}


class Host:
    """One Redis server.

    Args:
        config: a host as ``channels_redis.utils.decode_hosts`` returns it: keyword arguments of a redis-py connection,
            or ``address`` with a URL (``redis://``, ``rediss://``, ``unix://``), or ``sentinels`` and ``master_name``.
    """

    def __init__(self, config: dict[str, Any], timing: Timing) -> None:
        defaults = {**CONNECTION_DEFAULTS, "socket_connect_timeout": timing.connect}
        self._config = {**defaults, **config}
        if "sentinels" in config:
            self._config["sentinel_kwargs"] = {**defaults, **(config.get("sentinel_kwargs") or {})}
        self._timing = timing
        self._clients: dict[asyncio.AbstractEventLoop, tuple[Redis, asyncio.Task[None]]] = {}

    def pool(self) -> ConnectionPool:
        """Return a new pool of connections; it belongs to the running event loop."""
        pool: ConnectionPool = create_pool(self._config)
        return pool

    def client(self) -> Redis:
        """Return the client of the running event loop; its connections are closed together with the loop."""
        loop = asyncio.get_running_loop()
        entry = self._clients.get(loop)
        if entry is None or entry[1].done():
            for other in [other for other in list(self._clients) if other.is_closed()]:
                self._clients.pop(other, None)
            client = Redis.from_pool(self.pool())
            entry = client, loop.create_task(_close_at_the_end(client), name="realtime-layer-client")
            self._clients[loop] = entry
        return entry[0]

    async def execute(self, *command: Any, server_waits: float = 0.0) -> Any:
        """Send a command and return the answer; the server itself may wait for so many seconds before it gives one."""
        async with self.reached_within(self._timing.command + server_waits):
            return await self.client().execute_command(*command)

    async def close_client(self) -> None:
        """Close the connections of the running event loop's client."""
        entry = self._clients.pop(asyncio.get_running_loop(), None)
        if entry is not None:
            entry[1].cancel()
            await asyncio.wait([entry[1]])

    def __str__(self) -> str:
        """Return the server's address without its password."""
        config = self._config
        if "address" in config:
            url = urlsplit(config["address"])
            return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
        if "master_name" in config:
            return f"{config['master_name']} (Sentinel)"
        return str(config.get("path") or f"{config.get('host', 'localhost')}:{config.get('port', 6379)}")

    @asynccontextmanager
    async def reached_within(self, seconds: float) -> AsyncIterator[None]:
        """Limit the time of commands to this server, and raise one error for each way in which they fail.

        Raises:
            UpstreamUnavailable: if the server cannot be reached, refuses, or does not answer in time.
        """
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise UpstreamUnavailable(str(self), TimeoutError(f"no answer within {seconds:g} s")) from error
        except (RedisError, OSError) as error:
            raise UpstreamUnavailable(str(self), error) from error


class Hosts(list[Host]):
    """The Redis servers of a layer, given as for channels_redis; each name belongs to one of them."""

    def __init__(self, hosts: Sequence[Any], timing: Timing) -> None:
        super().__init__(Host(config, timing) for config in decode_hosts(hosts))

    def shard(self, name: str) -> int:
        """Return the index of the server that ``name`` belongs to, the same in every process."""
        return zlib.crc32(name.encode()) % len(self)

    def of(self, name: str) -> Host:
        """Return the server that ``name`` belongs to."""
        return self[self.shard(name)]


async def _close_at_the_end(client: Redis) -> None:
    """Wait to be cancelled.

    ``async_to_sync`` in a thread runs each call in an event loop of its own, which cancels its tasks when it ends.
    """
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await close_pool(client.connection_pool)


async def close_pool(pool: Any) -> None:
    """Close the connections of a pool, and those to the Sentinels that name its server: redis-py leaves them open."""
    await pool.aclose()
    if isinstance(pool, SentinelConnectionPool):
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()
