"""The slots that one process holds, counted in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["Claim", "HeldSlots"]


@dataclass(frozen=True, slots=True)
class Claim:
    """A wish for one slot.

    Args:
        name: whose slots these are, for instance ``user:7``.
        limit: how many there are.
        detail: what a client is told when all are taken.
    """

    name: str
    limit: int
    detail: str


class HeldSlots:
    """Counts slots. For use in one event loop; nothing between the question and the count gives way to another task."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many slots are held, by name; a live view."""
        return MappingProxyType(self._held)

    async def take(self, claims: Sequence[Claim]) -> Claim | None:
        """Take a slot for each claim, or none at all; return the claim that is full."""
        return self.take_at_once(claims)

    def take_at_once(self, claims: Sequence[Claim]) -> Claim | None:
        """Do what ``take()`` does."""
        for claim in claims:
            if self._held[claim.name] >= claim.limit:
                return claim
        self.add(claims)
        return None

    def add(self, claims: Sequence[Claim]) -> None:
        """Count slots that were taken."""
        self._held.update(claim.name for claim in claims)

    def give_back(self, claims: Sequence[Claim]) -> None:
        """Give slots back."""
        for claim in claims:
            self._held[claim.name] -= 1
            if self._held[claim.name] <= 0:
                del self._held[claim.name]
