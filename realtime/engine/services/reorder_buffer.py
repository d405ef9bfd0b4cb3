"""Puts numbered items in order, without I/O."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class ReorderBuffer(Generic[T]):
    """Takes numbered items in any order, with repeats and gaps, and has each once, in order, in ``ready``.

    Numbers go up by one. What is missing arrives late, or comes by ``fill()`` from a complete source.

    Args:
        last: the number before the first item.
        capacity: items that wait in ``ready``, or while an earlier one is missing. When there are more, they are
            forgotten; ``is_behind`` stays true, so that they are read from the complete source.

    Attributes:
        ready: the items in order, to be taken from the left.
        last: everything up to this number is in ``ready``, or was.
    """

    def __init__(self, last: int, capacity: int) -> None:
        self.ready: collections.deque[T] = collections.deque()
        self.last = last
        self._capacity = capacity
        self._held: dict[int, T] = {}
        self._newest = last

    @property
    def is_behind(self) -> bool:
        """Whether something is known to exist that has not come."""
        return self._newest > self.last

    def expect(self, number: int) -> None:
        """Take note that items up to ``number`` exist."""
        self._newest = max(self._newest, number)

    def offer(self, number: int, item: T) -> None:
        """Add an item; a repeat is dropped."""
        self._newest = max(self._newest, number)
        if number <= self.last or len(self.ready) >= self._capacity:
            return
        self._held.setdefault(number, item)
        self._advance()
        if len(self._held) > self._capacity:
            self._held.clear()

    def fill(self, items: Iterable[T], upto: int) -> None:
        """Add what a complete source has.

        Args:
            items: everything that there is after ``last`` and not after ``upto``, in order.
            upto: numbers up to this one that are not among ``items`` do not exist (any more).
        """
        self.ready.extend(items)
        self.expect(upto)
        self.last = max(self.last, upto)
        self._held = {number: item for number, item in self._held.items() if number > self.last}
        self._advance()

    def _advance(self) -> None:
        while self.last + 1 in self._held:
            self.last += 1
            self.ready.append(self._held.pop(self.last))
