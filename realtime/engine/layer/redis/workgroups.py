"""Which channels without an owner are in which groups. They belong to no process, so Redis keeps it."""

from __future__ import annotations

import time
from typing import Any

from realtime.engine.layer.redis.clients import Clients
from realtime.engine.layer.redis.hosts import Hosts

__all__ = ["WorkGroups"]

#: How often a channel that is read renews its memberships within the time that they last.
RENEWALS = 4


class WorkGroups:
    """Memberships of channels without an owner, each in two sets: the group's channels and the channel's groups.

    The sets may lie on different servers. The channel's set decides: a channel whose set has expired, since nobody has
    read the channel for ``group_expiry``, is in no group.

    Args:
        hosts: the servers.
        clients: the clients of each event loop.
        prefix: what the keys begin with.
        group_expiry: seconds for which a channel that nobody reads stays in its groups.
        patience: seconds that Redis may take to answer.
    """

    def __init__(self, hosts: Hosts, clients: Clients, *, prefix: str, group_expiry: float, patience: float) -> None:
        self._hosts = hosts
        self._clients = clients
        self._prefix = prefix
        self._expiry_ms = int(group_expiry * 1000)
        self._renewal_interval = group_expiry / RENEWALS
        self._patience = patience
        self._renewal_due: dict[str, float] = {}

    def channels_key(self, group: str) -> str:
        """Return the key of a group's channels; messages to the group are published by the same name."""
        return f"{self._prefix}:group:{group}"

    def groups_key(self, channel: str) -> str:
        """Return the key of a channel's groups."""
        return f"{self._prefix}:groups:{channel}"

    async def add(self, group: str, channel: str) -> None:
        """Put a channel into a group.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        # In this order: whoever finds the channel in the group's set looks into the channel's set.
        await self._add(self._hosts.shard(channel), self.groups_key(channel), group)
        key = self.channels_key(group)
        await self._add(self._hosts.shard(key), key, channel)

    async def discard(self, group: str, channel: str) -> None:
        """Take a channel out of a group, if it is in it.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        await self._remove(self._hosts.shard(channel), self.groups_key(channel), group)
        await self.forget(group, channel)

    async def forget(self, group: str, channel: str) -> None:
        """Take a channel whose own set does not name the group out of the group's set.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        key = self.channels_key(group)
        await self._remove(self._hosts.shard(key), key, channel)

    async def renew(self, channel: str) -> None:
        """Let the memberships of a channel that is read last; does nothing most of the time.

        Raises:
            UpstreamUnavailable: if Redis cannot be reached.
        """
        now = time.monotonic()
        if now < self._renewal_due.get(channel, now):
            return
        shard = self._hosts.shard(channel)
        async with self._hosts[shard].reached_within(self._patience):
            groups: Any = await self._clients.here()[shard].smembers(self.groups_key(channel))
        await self._last(shard, self.groups_key(channel))
        for group in groups:
            key = self.channels_key(group.decode())
            await self._last(self._hosts.shard(key), key)
        self._renewal_due[channel] = now + self._renewal_interval

    async def _add(self, shard: int, key: str, member: str) -> None:
        async with self._hosts[shard].reached_within(self._patience):
            adding: Any = self._clients.here()[shard].pipeline(transaction=True)
            await adding.sadd(key, member).pexpire(key, self._expiry_ms).execute()

    async def _remove(self, shard: int, key: str, member: str) -> None:
        async with self._hosts[shard].reached_within(self._patience):
            await self._clients.here()[shard].srem(key, member)

    async def _last(self, shard: int, key: str) -> None:
        async with self._hosts[shard].reached_within(self._patience):
            await self._clients.here()[shard].pexpire(key, self._expiry_ms)
