"""Numbers that are given out once in all processes, also after a Redis that has forgotten them was started again."""

from __future__ import annotations

from realtime.engine.layer.redis.clients import Clients
from realtime.engine.layer.redis.hosts import Hosts

__all__ = ["Numbers"]

#: Returns the number after the highest that the server or the asking process knows of.
_NEXT = """
local number = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[1])) + 1
redis.call('SET', KEYS[1], number)
return number
"""

#: Tells the server of the highest number that a process knows of.
_RAISE = """
if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[1]) then
    redis.call('SET', KEYS[1], ARGV[1])
end
"""


class Numbers:
    """Counts from 1 for each name.

    Args:
        hosts: the servers; a name's counter is on one of them.
        clients: the clients of each event loop.
        prefix: what the keys begin with.
        patience: seconds that Redis may take to answer.
    """

    def __init__(self, hosts: Hosts, clients: Clients, *, prefix: str, patience: float) -> None:
        self._hosts = hosts
        self._clients = clients
        self._prefix = prefix
        self._patience = patience
        self._highest: dict[str, int] = {}

    async def next(self, name: str) -> int:
        """Return the next number.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        number = int(await self._run(_NEXT, name))
        self._highest[name] = max(number, self._highest.get(name, 0))
        return number

    async def restore(self) -> None:
        """Tell Redis what this process knows, since it may have been started again without its memory.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        for name in list(self._highest):
            await self._run(_RAISE, name)

    def clear(self) -> None:
        """Count from 1 again, as far as this process is concerned."""
        self._highest.clear()

    async def _run(self, script: str, name: str) -> str:
        key = f"{self._prefix}:number:{name}"
        shard = self._hosts.shard(key)
        async with self._hosts[shard].reached_within(self._patience):
            reply: str = await self._clients.here()[shard].eval(script, 1, key, self._highest.get(name, 0))
            return reply
