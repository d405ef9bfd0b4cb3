"""Who is in which group, read both ways: a group's members, and a member's groups."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

__all__ = ["Groups"]

M = TypeVar("M", bound=Hashable)
S = TypeVar("S")


class Groups(Generic[M, S]):
    """Membership in both directions, in constant time, from any thread.

    ``members()`` returns what is made once and kept until the group changes: a fan-out neither looks at the members
    to sort them nor holds the lock while it delivers.

    Args:
        snapshot: makes what ``members()`` returns, for instance a tuple, from the members in the order of their coming.
    """

    def __init__(self, snapshot: Callable[[Iterable[M]], S]) -> None:
        self._snapshot = snapshot
        self._nobody = snapshot(())
        self._lock = threading.Lock()
        self._members: dict[str, dict[M, None]] = {}
        self._groups: dict[M, set[str]] = {}
        self._snapshots: dict[str, S] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, group: str) -> bool:
        return group in self._members

    def names(self) -> list[str]:
        """Return the names of all groups that have members."""
        with self._lock:
            return list(self._members)

    def add(self, group: str, member: M) -> bool:
        """Put ``member`` into ``group``; adding it again changes nothing. Returns whether it is the first member."""
        with self._lock:
            members = self._members.setdefault(group, {})
            is_first = not members
            if member not in members:
                members[member] = None
                self._groups.setdefault(member, set()).add(group)
                self._snapshots.pop(group, None)
            return is_first

    def discard(self, group: str, member: M) -> bool:
        """Take ``member`` out of ``group`` if it is in it. Returns whether the group has lost its last member."""
        with self._lock:
            return self._discard(group, member)

    def leave_all(self, member: M) -> list[str]:
        """Take ``member`` out of all its groups. Returns the groups that have lost their last member."""
        with self._lock:
            groups: Iterable[str] = tuple(self._groups.get(member, ()))
            return [group for group in groups if self._discard(group, member)]

    def members(self, group: str) -> S:
        """Return the snapshot of ``group``, that of nobody for an unknown group."""
        snapshot = self._snapshots.get(group)
        if snapshot is None:
            with self._lock:
                members = self._members.get(group)
                if members is None:
                    return self._nobody
                snapshot = self._snapshots[group] = self._snapshot(members)
        return snapshot

    def groups_of(self, member: M) -> frozenset[str]:
        """Return the groups that ``member`` is in."""
        with self._lock:
            return frozenset(self._groups.get(member, ()))

    def clear(self) -> None:
        """Forget every membership."""
        with self._lock:
            self._members.clear()
            self._groups.clear()
            self._snapshots.clear()

    def _discard(self, group: str, member: M) -> bool:
        members = self._members.get(group)
        if members is None or member not in members:
            return False
        del members[member]
        self._snapshots.pop(group, None)
        groups = self._groups[member]
        groups.discard(group)
        if not groups:
            del self._groups[member]
        if members:
            return False
        del self._members[group]
        return True
