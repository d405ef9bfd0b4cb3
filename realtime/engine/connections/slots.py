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
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.conf import settings
from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime.engine.connections.lease import DURATION, RENEWAL
from realtime.engine.handshake.addresses import client_address, limited_network
from realtime.engine.layer.options import Timing
from realtime.engine.layer.redis.hosts import Host, Hosts
from realtime.engine.protocol.errors import HandshakeRejected

__all__ = ["Place", "take_place"]

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
#: numbers of slots that have changed here, ``takes`` lists of names and limits. Returns for each of these 0, or the
#: number of the pair that is full; returns nothing to a process that is not registered.
_SETTLE = """
if redis.call('PEXPIRE', KEYS[2], ARGV[1]) == 0 then return false end
local batch = cjson.decode(ARGV[2])
for name, held in pairs(batch.held) do
    if held == 0 then redis.call('HDEL', KEYS[2], name) else redis.call('HSET', KEYS[2], name, held) end
end
local processes = redis.call('SMEMBERS', KEYS[1])
local function take(claims)
    for i, claim in ipairs(claims) do
        local taken = 0
        for _, process in ipairs(processes) do
            taken = taken + tonumber(redis.call('HGET', process, claim[1]) or '0')
        end
        if taken >= claim[2] then return i end
    end
    for _, claim in ipairs(claims) do redis.call('HINCRBY', KEYS[2], claim[1], 1) end
    return 0
end
local answers = {}
for i, claims in ipairs(batch.takes) do answers[i] = take(claims) end
return answers
"""


class Claim(NamedTuple):
    """A request for one slot."""

    name: str
    """Whose slots these are, for instance ``user:7``."""
    limit: int
    """How many there are."""


class Place:
    """The slots of one connection, in the slots of the running event loop."""

    __slots__ = ("_slots", "address", "user")

    def __init__(self) -> None:
        self._slots = _current_slots()
        self.address: list[Claim] = []
        self.user: list[Claim] = []

    async def change_user(self, user_id: Any) -> None:
        """Take a slot of another user, and give the present one's back.

        Raises:
            HandshakeRejected: 429 when all slots of the other user are taken; the present one's is kept.
        """
        claims = _claims("user", user_id, settings.REALTIME_CONNECTIONS_PER_USER)
        if claims != self.user:
            await self.take(claims)
            former, self.user = self.user, claims
            self._slots.give_back(former)

    def give_back(self) -> None:
        """Give the slots back; harmless when that was done."""
        claims = self.address + self.user
        self.address, self.user = [], []
        self._slots.give_back(claims)

    async def take(self, claims: list[Claim]) -> None:
        """Take slots, or refuse the handshake with 429 and ``Retry-After``."""
        full = await self._slots.take(claims)
        if full is not None:
            detail = f"{full.limit} connections of one {full.name.partition(':')[0]} are open already."
            raise HandshakeRejected(429, detail, headers=[("Retry-After", str(RETRY_AFTER))])


async def take_place(scope: Mapping[str, Any], user_id: Any) -> Place:
    """Return the slots of a new connection: one of its address, and one of its user unless that is None.

    Raises:
        HandshakeRejected: 429 with ``Retry-After``.
    """
    place = Place()
    address = _claims("address", limited_network(client_address(scope)), settings.REALTIME_CONNECTIONS_PER_ADDRESS)
    user = _claims("user", user_id, settings.REALTIME_CONNECTIONS_PER_USER)
    await place.take(address + user)
    place.address, place.user = address, user
    return place


class HeldSlots:
    """The number of slots of each name that this process holds. For use in one event loop."""

    def __init__(self) -> None:
        self.held: Counter[str] = Counter()

    async def take(self, claims: Sequence[Claim]) -> Claim | None:
        """Take a slot for each claim, or none at all; return the claim that is full.

        Nothing is awaited: no other task runs between the check and the count.
        """
        for claim in claims:
            if self.held[claim.name] >= claim.limit:
                return claim
        self.held.update(claim.name for claim in claims)
        return None

    def give_back(self, claims: Sequence[Claim]) -> None:
        """Give slots back."""
        for claim in claims:
            self.held[claim.name] -= 1
            if self.held[claim.name] <= 0:
                del self.held[claim.name]


class SharedSlots(HeldSlots):
    """Slots that all processes count together, below ``prefix`` in Redis. For use in the event loop that made it."""

    def __init__(self, host: Host, *, prefix: str) -> None:
        super().__init__()
        self._host = host
        self._processes = f"{prefix}:slots"
        self._own = f"{prefix}:slots:none"
        self._waiting: list[tuple[Sequence[Claim], asyncio.Future[Claim | None]]] = []
        #: Names of which Redis may count another number of slots than this process holds.
        self._stale: set[str] = set()
        self._work = asyncio.Event()
        self._is_away = False
        self._task = asyncio.create_task(self._run(), name="realtime-slots", context=contextvars.Context())

    async def take(self, claims: Sequence[Claim]) -> Claim | None:
        """Take a slot for each claim, or none at all; return the claim that is full."""
        if self._is_away or not claims:
            self._stale.update(claim.name for claim in claims)  # a registration may be on its way
            return await super().take(claims)
        answer: asyncio.Future[Claim | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((claims, answer))
        self._work.set()
        try:
            return await answer
        except asyncio.CancelledError:
            # The answer may have arrived while the handshake was cancelled.
            if not answer.cancelled() and answer.result() is None:
                self.give_back(claims)
            raise

    def give_back(self, claims: Sequence[Claim]) -> None:
        """Give slots back; the next batch tells Redis."""
        super().give_back(claims)
        self._stale.update(claim.name for claim in claims)
        self._work.set()

    async def _run(self) -> None:
        while True:
            try:
                async with Redis.from_pool(self._host.pool()) as redis:
                    await self._serve(redis)
            except (RedisError, OSError, TimeoutError) as error:
                if not self._is_away:
                    logger.warning("connections are counted by this process alone: %s", str(error) or "no answer")
                self._is_away = True
                for claims, answer in self._waiting:
                    if not answer.done():
                        answer.set_result(await super().take(claims))
                self._waiting.clear()
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
            await redis.ping()  # a Redis that hangs must not find an old registration when it goes on
            async with redis.pipeline(transaction=True) as pipe:
                pipe.delete(self._own)
                self._own = f"{self._processes}:{uuid.uuid4()}"
                self._stale.clear()
                fields: dict[Any, Any] = {_MARK: 1, **self.held}
                pipe.hset(self._own, mapping=fields)
                pipe.pexpire(self._own, int(DURATION * 1000))
                pipe.sadd(self._processes, self._own)
                await pipe.execute()
            for process in await redis.smembers(self._processes):
                if not await redis.exists(process):  # its lease has run out, and no other gets its name
                    await redis.srem(self._processes, process)

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
            if full == 0:
                self.held.update(claim.name for claim in claims)
            if not answer.done():
                answer.set_result(claims[full - 1] if full else None)
            elif full == 0:  # the handshake was cancelled meanwhile
                self.give_back(claims)
        return True


def _claims(kind: str, owner: Any, limit: int) -> list[Claim]:
    return [Claim(f"{kind}:{owner}", limit)] if limit and owner is not None else []


_by_loop: dict[asyncio.AbstractEventLoop, HeldSlots] = {}


def _current_slots() -> HeldSlots:
    loop = asyncio.get_running_loop()
    if loop not in _by_loop:
        for other in [other for other in _by_loop if other.is_closed()]:
            del _by_loop[other]
        config = settings.CHANNEL_LAYERS.get("default", {}).get("CONFIG", {})
        hosts: Sequence[Any] = config.get("hosts", ())
        prefix = config.get("prefix", "realtime")
        _by_loop[loop] = SharedSlots(Hosts(hosts, Timing(connect=TIMEOUT))[0], prefix=prefix) if hosts else HeldSlots()
    return _by_loop[loop]
