"""Slots for connections: so many for each user and each address, taken at admission and given back at the end.

A slot is counted before the handshake is answered, so that parallel handshakes cannot pass a limit together. Without
Redis the process counts for itself; with Redis all processes count together (``shared_slots``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from django.conf import settings

from realtime.engine.connections.claims import Claim, HeldSlots
from realtime.engine.connections.shared_slots import SharedSlots
from realtime.engine.errors import HandshakeRejected
from realtime.engine.layer.redis.hosts import Hosts

__all__ = ["Place"]

#: Seconds that connecting to Redis may take.
CONNECT_TIMEOUT = 0.5

#: Seconds after which a client that found no slot may ask again.
RETRY_AFTER = 10


class Place:
    """The slots of one connection, in the slots of the running event loop."""

    __slots__ = ("_address", "_slots", "_user")

    def __init__(self) -> None:
        self._slots = _current_slots()
        self._address: Claim | None = None
        self._user: Claim | None = None

    async def take(self, *, address: str | None, user_id: Any) -> None:
        """Take a slot of an address and one of a user.

        Raises:
            HandshakeRejected: 429 with ``Retry-After`` when all slots of either are taken.
        """
        address_claim, user_claim = _address_claim(address), _user_claim(user_id)
        await self._take(address_claim, user_claim)
        self._address, self._user = address_claim, user_claim

    async def change_user(self, user_id: Any) -> None:
        """Take a slot of another user, and give the present one's back.

        Raises:
            HandshakeRejected: 429 when all slots of the other user are taken; the present one's is kept.
        """
        claim = _user_claim(user_id)
        if claim != self._user:
            await self._take(claim)
            former, self._user = self._user, claim
            self._slots.give_back(_present(former))

    def give_back(self) -> None:
        """Give the slots back; harmless when that was done."""
        claims = _present(self._address, self._user)
        self._address = self._user = None
        self._slots.give_back(claims)

    async def _take(self, *claims: Claim | None) -> None:
        full = await self._slots.take(_present(*claims))
        if full is not None:
            raise HandshakeRejected(429, full.detail, headers=[("Retry-After", str(RETRY_AFTER))])


def _present(*claims: Claim | None) -> list[Claim]:
    return [claim for claim in claims if claim is not None]


def _address_claim(address: str | None) -> Claim | None:
    limit = settings.REALTIME_CONNECTIONS_PER_ADDRESS
    if not limit or address is None:
        return None
    return Claim(f"address:{address}", limit, f"{limit} connections from one address are open already.")


def _user_claim(user_id: Any) -> Claim | None:
    limit = settings.REALTIME_CONNECTIONS_PER_USER
    if not limit or user_id is None:
        return None
    return Claim(f"user:{user_id}", limit, f"{limit} connections of one user are open already.")


_by_loop: dict[asyncio.AbstractEventLoop, HeldSlots | SharedSlots] = {}


def _current_slots() -> HeldSlots | SharedSlots:
    loop = asyncio.get_running_loop()
    if loop not in _by_loop:
        for other in [other for other in _by_loop if other.is_closed()]:
            del _by_loop[other]
        _by_loop[loop] = _make_slots()
    return _by_loop[loop]


def _make_slots() -> HeldSlots | SharedSlots:
    config = settings.CHANNEL_LAYERS.get("default", {}).get("CONFIG", {})
    hosts: Sequence[Any] = config.get("hosts", ())
    if not hosts:
        return HeldSlots()
    return SharedSlots(Hosts(hosts, CONNECT_TIMEOUT)[0], prefix=config.get("prefix", "realtime"))
