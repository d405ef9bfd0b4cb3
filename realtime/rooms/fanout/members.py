"""The members of one room: this process's connections, and the names of everybody in any process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from realtime.engine import SharedMessage
from realtime.rooms.fanout.reorder_buffer import ReorderBuffer
from realtime.rooms.limits import limits
from realtime.rooms.permissions import Person, Standing
from realtime.rooms.store.presence import JOINED, LEFT, Transition
from realtime.rooms.store.selectors import Entry

__all__ = ["Member", "MemberList"]


@dataclass(slots=True, eq=False)
class Member:
    """One connection in one room.

    While it joins, what happens in the room is held. Its ``Joined`` settles everything up to ``position``; the held
    rest follows, and from then on every message goes straight to the connection.

    Args:
        connection: identity of the connection.
        person: who it is.
        standing: what the person is to the room.
        access_version: the room's when the standing was looked up.
        send: queues a message for the connection, without waiting.
        expel: called when the person may not be here any longer.
        capacity: messages that are held; when there are more, they are read from the database later.
    """

    connection: str
    person: Person
    standing: Standing
    access_version: int
    send: Callable[[SharedMessage], None]
    expel: Callable[[], None]
    capacity: int
    is_live: bool = False
    #: Whether ``Joined`` was sent: changes of the list of members are news from then on.
    is_announced: bool = False
    #: Everything up to this number has been sent, or is not for this member.
    position: int = 0
    #: ``held`` has every message after this number; None while the fan-out has not begun.
    covered_from: int | None = None
    held: list[tuple[int | None, SharedMessage]] = field(default_factory=list)

    def renew(self, standing: Standing, access_version: int) -> None:
        """Replace the standing and its version by newer ones."""
        self.standing, self.access_version = standing, access_version

    def hold(self, entry: Entry, shared: SharedMessage) -> None:
        """Keep a message until the member is live."""
        if entry.seq <= self.position or entry.connection == self.connection:
            return
        if len(self.held) >= self.capacity:
            self.covered_from = entry.seq
            self.held = [(seq, kept) for seq, kept in self.held if seq is None]
            return
        self.held.append((entry.seq, shared))

    def notify(self, shared: SharedMessage) -> None:
        """Send something that has no number, or keep it until the member is live.

        A peer that reads its ``Joined`` so slowly that twice the capacity is held misses it.
        """
        if self.is_live:
            self.send(shared)
        elif self.is_announced and len(self.held) < 2 * self.capacity:
            self.held.append((None, shared))

    def release(self) -> None:
        """Send what is held, in the order in which it came."""
        held, self.held = self.held, []
        for seq, shared in held:
            if seq is None or seq > self.position:
                self.send(shared)
                self.position = self.position if seq is None else seq


class MemberList:
    """The people in a room, in every process: applies each transition once, in the order of its version."""

    def __init__(self, room_id: int) -> None:
        self._room_id = room_id
        self._names: dict[str, str] = {}
        self._transitions: ReorderBuffer[Transition] = ReorderBuffer(limits().held)

    @property
    def is_known(self) -> bool:
        """Whether the list has been read."""
        return self._transitions.last is not None

    @property
    def is_behind(self) -> bool:
        """Whether there was a transition that has not arrived."""
        return self._transitions.is_behind

    @property
    def names(self) -> list[str]:
        """Names of the people in the room, each once."""
        return sorted(set(self._names.values()))

    def offer(self, transition: Transition) -> list[Transition]:
        """Take a transition, in any order, repeated or not; return those that are news now."""
        self._transitions.offer(transition.version, transition)
        return self._apply(transition for _, transition in self._transitions.take())

    def expect(self, version: int) -> None:
        """Take note that transitions up to ``version`` have happened."""
        self._transitions.expect(version)

    def correct(self, version: int, names: dict[str, str]) -> list[Transition]:
        """Take over the list of the database; return what is news in it.

        Args:
            version: the room's ``presence_version``; a list that is older than what is known changes nothing.
            names: names by key.
        """
        last = self._transitions.last
        if last is None:
            self._names = dict(names)
            self._transitions.start(version)
            return self._apply(transition for _, transition in self._transitions.take())
        if version < last:
            return []
        gone = [
            Transition(self._room_id, version, key, name, LEFT) for key, name in self._names.items() if key not in names
        ]
        come = [Transition(self._room_id, version, key, name, JOINED) for key, name in names.items()]
        later = [transition for _, transition in self._transitions.fill({}, version)]
        return self._apply([*gone, *come, *later])

    def _apply(self, transitions: Iterable[Transition]) -> list[Transition]:
        news = []
        for transition in transitions:
            is_there = transition.key in self._names
            if is_there == (transition.state == JOINED):
                continue
            if is_there:
                del self._names[transition.key]
            else:
                self._names[transition.key] = transition.name
            news.append(transition)
        return news
