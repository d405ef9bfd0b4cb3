"""The Redis servers of a layer: configured as channels_redis does, several of them as shards."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from channels_redis.utils import create_pool, decode_hosts
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from realtime.engine.errors import UpstreamUnavailable

__all__ = ["Host", "Hosts"]

#: An idle connection of redis-py 8 has a read timeout of 5 s, as long as its blocking pops wait: it would be killed
#: while it waits for a message. Nothing here waits without a timeout of its own, so that the socket needs none.
#: RESP2: with RESP3 a pool does not notice that an idle connection was closed by the server, and the next command
#: fails (redis-py skips the check while maintenance notifications are enabled).
CONNECTION_DEFAULTS: dict[str, Any] = {"socket_timeout": None, "protocol": 2, "health_check_interval": 15}


class Host:
    """One Redis server.

    Args:
        config: a host as ``channels_redis.utils.decode_hosts`` returns it: keyword arguments of a redis-py connection,
            or ``address`` with a URL (``redis://``, ``rediss://``, ``unix://``), or ``sentinels`` and ``master_name``.
        connect_timeout: seconds that connecting may take.
    """

    def __init__(self, config: dict[str, Any], connect_timeout: float) -> None:
        self._config = {**CONNECTION_DEFAULTS, "socket_connect_timeout": connect_timeout, **config}

    def pool(self) -> ConnectionPool:
        """Return a new pool of connections; it belongs to the running event loop."""
        pool: ConnectionPool = create_pool(self._config)
        return pool

    def __str__(self) -> str:
        """The server's name for people: never its password."""
        config = self._config
        if "address" in config:
            url = urlsplit(config["address"])
            return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
        if "master_name" in config:
            return f"{config['master_name']} (Sentinel)"
        return str(config.get("path") or f"{config.get('host', 'localhost')}:{config.get('port', 6379)}")

    @asynccontextmanager
    async def reached_within(self, seconds: float) -> AsyncIterator[None]:
        """Bound what is done with this server, and turn each way in which it fails into one error.

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


class Hosts:
    """The Redis servers of a layer; each name belongs to one of them.

    Args:
        hosts: as for channels_redis: URLs, pairs of host and port, or dicts.
        connect_timeout: seconds that connecting to one may take.
    """

    def __init__(self, hosts: Sequence[Any], connect_timeout: float) -> None:
        self._hosts = [Host(config, connect_timeout) for config in decode_hosts(hosts)]

    def __len__(self) -> int:
        return len(self._hosts)

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts)

    def __getitem__(self, index: int) -> Host:
        return self._hosts[index]

    def shard(self, name: str) -> int:
        """Return the index of the server that ``name`` belongs to, the same in every process."""
        return zlib.crc32(name.encode()) % len(self._hosts)
