"""Puts numbered items in order, without I/O."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["ReorderBuffer"]

T = TypeVar("T")


class ReorderBuffer(Generic[T]):
    """Takes numbered items in any order, with repeats and gaps, and gives each once, in order.

    Numbers go up by one. What is missing arrives late, or comes by ``fill()`` from a complete source.

    Args:
        capacity: items that are kept while an earlier one is missing. When there are more, all are forgotten;
            ``is_behind`` stays true, so that they are read from the complete source.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held: dict[int, T] = {}
        self._last: int | None = None
        self._target = 0

    @property
    def last(self) -> int | None:
        """The number up to which everything was taken; None before ``start()``."""
        return self._last

    @property
    def is_behind(self) -> bool:
        """Whether something is known to exist that was not taken yet."""
        return self._last is not None and self._target > self._last

    def start(self, last: int) -> None:
        """Begin after number ``last``; what was offered before and has a higher number is kept."""
        self._last = last
        self._drop_repeats()

    def offer(self, number: int, item: T) -> None:
        """Add an item; a repeat is dropped."""
        self._target = max(self._target, number)
        if self._last is not None and number <= self._last:
            return
        self._held.setdefault(number, item)
        if len(self._held) > self._capacity:
            self._held.clear()

    def expect(self, number: int) -> None:
        """Take note that items up to ``number`` exist."""
        self._target = max(self._target, number)

    def take(self) -> list[tuple[int, T]]:
        """Return what can be given now: the next items without a gap."""
        taken: list[tuple[int, T]] = []
        if self._last is None:
            return taken
        while self._last + 1 in self._held:
            self._last += 1
            taken.append((self._last, self._held.pop(self._last)))
        return taken

    def fill(self, items: dict[int, T], upto: int) -> list[tuple[int, T]]:
        """Add what a complete source has up to a number, and return what can be given now.

        Args:
            items: everything that the source has after ``last``.
            upto: numbers up to this one that are not among ``items`` do not exist (any more).

        Raises:
            RuntimeError: before ``start()``.
        """
        if self._last is None:
            raise RuntimeError("a buffer is filled only after its start")
        taken = [(number, items[number]) for number in sorted(items) if self._last < number <= upto]
        self._target = max(self._target, upto)
        self._last = max(self._last, upto)
        self._drop_repeats()
        return taken + self.take()

    def _drop_repeats(self) -> None:
        last = self._last or 0
        for number in [number for number in self._held if number <= last]:
            del self._held[number]
