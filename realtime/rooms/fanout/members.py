"""One connection in one room, as the feed of the room sees it."""

from __future__ import annotations

from collections.abc import Callable

from realtime.engine import SharedMessage
from realtime.rooms.permissions import Person, RoomFacts, Standing
from realtime.rooms.store.selectors import Entry

__all__ = ["Member"]


class Member:
    """A member joins, and then it is live.

    While it joins, what happens in the room is held. When its ``Joined`` has been sent, which settles everything up
    to ``position``, the held rest follows; from then on every message goes straight to the connection.

    Args:
        connection: identity of the connection.
        person: who it is.
        standing: what the person is to the room.
        access_version: the room's when the standing was looked up.
        facts: the room's settings then.
        send: queues a message for the connection, without waiting.
        expel: called when the person may not be here any longer.
        capacity: messages that are held; when there are more, they are read from the database later.
    """

    __slots__ = (
        "_capacity",
        "access_version",
        "connection",
        "covered_from",
        "expel",
        "facts",
        "held",
        "is_announced",
        "person",
        "position",
        "send",
        "standing",
    )

    def __init__(
        self,
        connection: str,
        person: Person,
        standing: Standing,
        access_version: int,
        facts: RoomFacts,
        *,
        send: Callable[[SharedMessage], None],
        expel: Callable[[], None],
        capacity: int,
    ) -> None:
        self.connection = connection
        self.person = person
        self.standing = standing
        self.access_version = access_version
        self.facts = facts
        self.send = send
        self.expel = expel
        self._capacity = capacity
        #: Everything up to this number has been sent, or is not for this member.
        self.position = 0
        #: ``held`` has every message after this number; None while the feed has not begun.
        self.covered_from: int | None = None
        self.held: list[tuple[int | None, SharedMessage]] = []
        #: Whether ``Joined`` was written, so that changes of the list of members have to be told.
        self.is_announced = False

    def renew(self, standing: Standing, facts: RoomFacts, access_version: int) -> None:
        """Replace the standing, the room's settings and their version by newer ones."""
        self.standing, self.facts, self.access_version = standing, facts, access_version

    def hold(self, entry: Entry, shared: SharedMessage) -> None:
        """Keep a message until the member is live."""
        if entry.seq <= self.position or entry.connection == self.connection:
            return
        if len(self.held) >= self._capacity:
            self.covered_from = entry.seq
            self.held = [(seq, kept) for seq, kept in self.held if seq is None]
            return
        self.held.append((entry.seq, shared))

    def hold_notice(self, shared: SharedMessage) -> None:
        """Keep something that has no number until the member is live; for one without ``Joined`` it is no news.

        A peer that takes so long to read its ``Joined`` that more is held than messages may be, misses it.
        """
        if self.is_announced and len(self.held) < 2 * self._capacity:
            self.held.append((None, shared))

    def release(self) -> None:
        """Send what is held, in the order in which it came."""
        held, self.held = self.held, []
        for seq, shared in held:
            if seq is None or seq > self.position:
                self.send(shared)
                self.position = self.position if seq is None else seq
