"""Limits on connections: slots for each user and each address, taken before the handshake is answered.

Without Redis the process counts for itself. With Redis all processes count together: each keeps a hash of what it
holds, which expires unless the process renews it, so that the slots of a killed process become free. One script adds
up the hashes of all processes and takes the slots; batches of handshakes go to it one after the other.

While Redis is away, the process decides by what it holds itself. When Redis is back, also without its memory, the
process registers anew with all that it holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import logging
import uuid
import weakref
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.conf import settings
from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime.engine.connections.lease import DURATION, RENEWAL
from realtime.engine.handshake.addresses import client_address, limited_network
from realtime.engine.layer.options import Timing
from realtime.engine.layer.redis.hosts import Host, Hosts
from realtime.engine.protocol.errors import HandshakeRejected

logger = logging.getLogger("realtime.live")

#: Seconds after which a client that found no slot may ask again.
RETRY_AFTER = 10

#: Seconds that Redis may take to connect or to answer; handshakes wait for it.
TIMEOUT = 0.5

#: Seconds between two attempts to reach a Redis that is away.
RETRY = 1.0

#: A field of every hash; Redis has no empty ones.
_MARK = "process"

#: KEYS: the set of processes, this process's hash. ARGV: the lease in milliseconds, and the batch as JSON: ``held`` has
#: numbers of slots that have changed here, ``takes`` the limits by name. Returns for each of these an empty string, or
#: the name whose slots are all taken; returns nothing to a process that is not registered.
_SETTLE = """
if redis.call('PEXPIRE', KEYS[2], ARGV[1]) == 0 then return false end
local batch = cjson.decode(ARGV[2])
for name, held in pairs(batch.held) do
    if held == 0 then redis.call('HDEL', KEYS[2], name) else redis.call('HSET', KEYS[2], name, held) end
end
local processes = redis.call('SMEMBERS', KEYS[1])
local function take(claims)
    for name, limit in pairs(claims) do
        local taken = 0
        for _, process in ipairs(processes) do
            taken = taken + tonumber(redis.call('HGET', process, name) or '0')
        end
        if taken >= limit then return name end
    end
    for name in pairs(claims) do redis.call('HINCRBY', KEYS[2], name, 1) end
    return ''
end
local answers = {}
for i, claims in ipairs(batch.takes) do answers[i] = take(claims) end
return answers
"""


#: How many slots there are, by the name of those whose they are, for instance ``user:7``. One of each is taken.
Claims = Mapping[str, int]


class Place:
    """The slots of one connection, in the slots of the running event loop.

    Args:
        scope: the ASGI scope of the handshake.
    """

    __slots__ = ("_address", "_claims", "_slots")

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self._slots = _current_slots()
        self._address = limited_network(client_address(scope))
        self._claims: Claims = {}

    async def take(self, user_id: Any) -> None:
        """Hold a slot of the address and one of the user, and give back that of a former user.

        Args:
            user_id: primary key; None for an anonymous user, who needs no slot.

        Raises:
            HandshakeRejected: 429 with ``Retry-After`` when all slots are taken; what is held is kept.
        """
        limits = {
            f"address:{self._address}": self._address and settings.REALTIME_CONNECTIONS_PER_ADDRESS,
            f"user:{user_id}": user_id is not None and settings.REALTIME_CONNECTIONS_PER_USER,
        }
        claims = {name: limit for name, limit in limits.items() if limit}
        full = await self._slots.take({name: claims[name] for name in claims if name not in self._claims})
        if full is not None:
            detail = f"{claims[full]} connections of one {full.partition(':')[0]} are open already."
            raise HandshakeRejected(429, detail, headers=[("Retry-After", str(RETRY_AFTER))])
        former, self._claims = self._claims, claims
        self._slots.give_back(former.keys() - claims.keys())

    def give_back(self) -> None:
        """Give the slots back; harmless when that was done."""
        claims, self._claims = self._claims, {}
        self._slots.give_back(claims)


class HeldSlots:
    """The number of slots of each name that this process holds. For use in one event loop."""

    def __init__(self) -> None:
        self.held: Counter[str] = Counter()

    async def take(self, claims: Claims) -> str | None:
        """Take a slot of each name, or none at all; return the name whose slots are all taken.

        Nothing is awaited: no other task runs between the check and the count.
        """
        for name, limit in claims.items():
            if self.held[name] >= limit:
                return name
        self.held.update(claims.keys())
        return None

    def give_back(self, names: Collection[str]) -> None:
        """Give slots back."""
        for name in names:
            self.held[name] -= 1
            if self.held[name] <= 0:
                del self.held[name]


class SharedSlots(HeldSlots):
    """Slots that all processes count together, below ``prefix`` in Redis. For use in the event loop that made it."""

    def __init__(self, host: Host, *, prefix: str) -> None:
        super().__init__()
        self._host = host
        self._processes = f"{prefix}:slots"
        self._own = f"{prefix}:slots:none"
        self._waiting: list[tuple[Claims, asyncio.Future[str | None]]] = []
        #: Names of which Redis may count another number of slots than this process holds.
        self._stale: set[str] = set()
        self._work = asyncio.Event()
        self._is_away = False
        self._task = asyncio.create_task(self._run(), name="realtime-slots", context=contextvars.Context())

    async def take(self, claims: Claims) -> str | None:
        """Take a slot of each name, or none at all; return the name whose slots are all taken."""
        if self._is_away or not claims:
            self._stale.update(claims)  # a registration may be on its way
            return await super().take(claims)
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((claims, answer))
        self._work.set()
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:  # of the handshake, which may get its slots all the same
            answer.add_done_callback(lambda _: self.give_back(() if answer.result() else claims))
            raise

    def give_back(self, names: Collection[str]) -> None:
        """Give slots back; the next batch frees them in Redis."""
        super().give_back(names)
        if names:
            self._stale.update(names)
            self._work.set()

    async def _run(self) -> None:
        while True:
            try:
                await self._serve(self._host.client())
            except (RedisError, OSError, TimeoutError) as error:
                if not self._is_away:
                    logger.warning("connections are counted by this process alone: %s", str(error) or "no answer")
                self._is_away = True
                for claims, answer in self._waiting:
                    answer.set_result(await super().take(claims))
                self._waiting.clear()
                await self._host.close_client()
                await asyncio.sleep(RETRY)

    async def _serve(self, redis: Redis) -> None:
        while True:
            await self._register(redis)
            if self._is_away:
                logger.warning("connections are counted in Redis again")
            self._is_away = False
            while await self._settle(redis):
                with contextlib.suppress(TimeoutError):  # the lease has to be renewed
                    async with asyncio.timeout(RENEWAL):
                        await self._work.wait()

    async def _register(self, redis: Redis) -> None:
        """Write all that is held under a new name: what Redis has under the old one may be wrong."""
        async with asyncio.timeout(TIMEOUT):
            # First, because a Redis that hangs must not find an old registration when it goes on.
            for process in await redis.smembers(self._processes):
                if not await redis.exists(process):  # its lease has run out, and no other gets its name
                    await redis.srem(self._processes, process)
            async with redis.pipeline(transaction=True) as pipe:
                pipe.delete(self._own)
                pipe.srem(self._processes, self._own)
                self._own = f"{self._processes}:{uuid.uuid4()}"
                self._stale.clear()
                fields: dict[Any, Any] = {_MARK: 1, **self.held}
                pipe.hset(self._own, mapping=fields)
                pipe.pexpire(self._own, int(DURATION * 1000))
                pipe.sadd(self._processes, self._own)
                await pipe.execute()

    async def _settle(self, redis: Redis) -> bool:
        """Send one batch and renew the lease; return whether Redis still knows this process."""
        self._work.clear()
        batch = list(self._waiting)
        message = {
            "held": {name: self.held[name] for name in self._stale},
            "takes": [claims for claims, _ in batch],
        }
        self._stale.clear()
        arguments = (self._processes, self._own, int(DURATION * 1000), json.dumps(message))
        async with asyncio.timeout(TIMEOUT):
            answers: Any = await redis.eval(_SETTLE, 2, *arguments)
        if answers is None:
            return False
        del self._waiting[: len(batch)]
        for (claims, answer), full in zip(batch, answers, strict=True):
            if not full:
                self.held.update(claims.keys())
            answer.set_result(full.decode() or None)
        return True


_by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, HeldSlots] = weakref.WeakKeyDictionary()


def _current_slots() -> HeldSlots:
    loop = asyncio.get_running_loop()
    if loop not in _by_loop:
        config = settings.CHANNEL_LAYERS.get("default", {}).get("CONFIG", {})
        hosts: Sequence[Any] = config.get("hosts", ())
        prefix = config.get("prefix", "realtime")
        _by_loop[loop] = SharedSlots(Hosts(hosts, Timing(connect=TIMEOUT))[0], prefix=prefix) if hosts else HeldSlots()
    return _by_loop[loop]
