"""Slots that all processes count together, in Redis.

Each process keeps a hash of what it holds, which lives for ``LEASE`` seconds unless the process renews it: the slots
of a killed process come back by themselves. A script adds up the hashes of all processes and takes the slots in one
step. Orders go to Redis one batch after the other, on one connection.

While Redis is away, the process decides by what it holds itself. When Redis is back, also without its memory, the
process registers anew with all that it holds.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime.engine.connections.claims import Claim, HeldSlots
from realtime.engine.layer.redis.hosts import Host

__all__ = ["LEASE", "SharedSlots"]

logger = logging.getLogger("realtime.auth")

#: Seconds after its last renewal at which what a process holds is free again.
LEASE = 15

#: Seconds between two renewals: one may fail.
RENEWAL = 5.0

#: Seconds that Redis may take to answer; handshakes wait for it.
PATIENCE = 0.5

#: Seconds between two attempts to reach a Redis that is away.
RETRY = 1.0

#: Of a hash that would be empty otherwise, and so would not exist.
_MARK = "process"

#: Takes a slot for each pair of name and limit, or none: returns 0, the number of the pair that is full, or -1 to a
#: process that is not registered. KEYS: the set of processes, this process's hash.
_TAKE = """
if redis.call('EXISTS', KEYS[2]) == 0 then return -1 end
local processes = redis.call('SMEMBERS', KEYS[1])
for i = 1, #ARGV, 2 do
    local taken = 0
    for _, process in ipairs(processes) do
        taken = taken + tonumber(redis.call('HGET', process, ARGV[i]) or '0')
    end
    if taken >= tonumber(ARGV[i + 1]) then return (i + 1) / 2 end
end
for i = 1, #ARGV, 2 do redis.call('HINCRBY', KEYS[2], ARGV[i], 1) end
return 0
"""

#: Changes what this process holds by a number for each of the names that follow it. KEYS and -1 as above.
_CHANGE = """
if redis.call('EXISTS', KEYS[2]) == 0 then return -1 end
for i = 2, #ARGV do
    if redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[1]) <= 0 then redis.call('HDEL', KEYS[2], ARGV[i]) end
end
return 0
"""

#: Forgets the processes whose lease has run out.
_SWEEP = """
for _, process in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    if redis.call('EXISTS', process) == 0 then redis.call('SREM', KEYS[1], process) end
end
"""


@dataclass(slots=True, eq=False)
class _Take:
    """A handshake waits for its slots."""

    claims: Sequence[Claim]
    answer: asyncio.Future[Claim | None]

    def command(self) -> tuple[str, list[str | int]]:
        return _TAKE, [argument for claim in self.claims for argument in (claim.name, claim.limit)]


@dataclass(slots=True, eq=False)
class _Change:
    """The process has counted slots that Redis does not know of yet."""

    claims: Sequence[Claim]
    by: int

    def command(self) -> tuple[str, list[str | int]]:
        return _CHANGE, [self.by, *(claim.name for claim in self.claims)]


class SharedSlots:
    """Takes slots for this process; works in the event loop that made it.

    Args:
        host: the Redis server.
        prefix: what the keys begin with.
    """

    def __init__(self, host: Host, *, prefix: str) -> None:
        self._host = host
        self._processes = f"{prefix}:slots"
        self._own = self._processes + ":none"
        self._held = HeldSlots()
        self._orders: list[_Take | _Change] = []
        self._news = asyncio.Event()
        self._is_away = False
        self._task = asyncio.create_task(self._run(), name="realtime-slots", context=contextvars.Context())

    async def take(self, claims: Sequence[Claim]) -> Claim | None:
        """Take a slot for each claim, or none at all; return the claim that is full."""
        if not claims:
            return None
        if self._is_away:
            return self._decide(claims)
        order = _Take(claims, asyncio.get_running_loop().create_future())
        self._order(order)
        try:
            return await order.answer
        except asyncio.CancelledError:
            # The answer may have come in the very moment in which the handshake was given up.
            if order.answer.done() and not order.answer.cancelled() and order.answer.result() is None:
                self.give_back(claims)
            raise

    def give_back(self, claims: Sequence[Claim]) -> None:
        """Give slots back; Redis learns of it soon."""
        if claims:
            self._held.give_back(claims)
            self._order(_Change(claims, -1))

    def _order(self, order: _Take | _Change) -> None:
        self._orders.append(order)
        self._news.set()

    def _decide(self, claims: Sequence[Claim]) -> Claim | None:
        """Decide by what this process holds; Redis will learn of it."""
        full = self._held.take_at_once(claims)
        if full is None:
            self._order(_Change(claims, 1))
        return full

    # The conversation with Redis

    async def _run(self) -> None:
        while True:
            try:
                await self._serve()
            except (RedisError, OSError, TimeoutError) as error:
                if not self._is_away:
                    logger.warning("connections are counted by this process alone: %s", str(error) or "no answer")
                self._is_away = True
                self._settle_here()
                await asyncio.sleep(RETRY)

    async def _serve(self) -> None:
        async with Redis.from_pool(self._host.pool()) as redis:
            while True:
                await self._register(redis)
                if self._is_away:
                    logger.warning("connections are counted in Redis again")
                self._is_away = False
                while await self._settle(redis):
                    await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(RENEWAL):
                await self._news.wait()
        except TimeoutError:
            pass  # the lease is due

    async def _register(self, redis: Redis) -> None:
        """Tell Redis all that is held, under a new name: what it has under the old one may be wrong."""
        async with asyncio.timeout(PATIENCE):
            await redis.ping()  # a Redis that hangs must not find a registration of long ago when it goes on
            async with redis.pipeline(transaction=True) as pipe:
                pipe.delete(self._own)
                self._own = f"{self._processes}:{uuid.uuid4()}"
                # What was counted before now is in what is held.
                self._orders = [order for order in self._orders if isinstance(order, _Take)]
                fields: dict[Any, Any] = {_MARK: 1, **self._held.counts}
                pipe.hset(self._own, mapping=fields)
                pipe.expire(self._own, LEASE)
                pipe.sadd(self._processes, self._own)
                pipe.eval(_SWEEP, 1, self._processes)
                await pipe.execute()

    async def _settle(self, redis: Redis) -> bool:
        """Carry out the orders and renew the lease, in one round trip; tell whether Redis still knows this process."""
        self._news.clear()
        batch = list(self._orders)
        async with asyncio.timeout(PATIENCE), redis.pipeline(transaction=False) as pipe:
            for order in batch:
                script, arguments = order.command()
                pipe.eval(script, 2, self._processes, self._own, *arguments)
            pipe.expire(self._own, LEASE)
            *replies, is_registered = await pipe.execute()
        answered = list(zip(batch, replies, strict=True))
        unknown = [order for order, reply in answered if reply < 0]
        self._orders = [*unknown, *self._orders[len(batch) :]]
        for order, reply in answered:
            if isinstance(order, _Take) and reply >= 0:
                self._answer(order, order.claims[reply - 1] if reply else None)
        return bool(is_registered)

    def _answer(self, order: _Take, full: Claim | None) -> None:
        if full is None:
            self._held.add(order.claims)
        if not order.answer.done():
            order.answer.set_result(full)
        elif full is None:  # the handshake was given up meanwhile
            self.give_back(order.claims)

    def _settle_here(self) -> None:
        """Answer the handshakes that wait; what the process has counted goes to Redis with the next registration."""
        for order in list(self._orders):
            if isinstance(order, _Take) and not order.answer.done():
                order.answer.set_result(self._decide(order.claims))
        self._orders.clear()
