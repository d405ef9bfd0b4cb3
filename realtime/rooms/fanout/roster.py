"""Who is in a room, as one process knows it: kept up by news, and corrected from the database."""

from __future__ import annotations

from collections.abc import Iterable

from realtime.rooms.fanout.reorder_buffer import Sequencer
from realtime.rooms.limits import limits
from realtime.rooms.protocol import PresenceState
from realtime.rooms.store.presence import JOINED, LEFT, Transition

__all__ = ["Roster"]


class Roster:
    """Applies each transition once, in the order of its version.

    Args:
        room_id: the room's primary key.
    """

    def __init__(self, room_id: int) -> None:
        self._room_id = room_id
        self._names: dict[str, str] = {}
        self._transitions: Sequencer[Transition] = Sequencer(limits().held)

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
        gone = [self._transition(version, key, LEFT) for key in self._names if key not in names]
        come = [Transition(self._room_id, version, key, name, JOINED) for key, name in names.items()]
        later = [transition for _, transition in self._transitions.fill({}, version)]
        return self._apply([*gone, *come, *later])

    def _transition(self, version: int, key: str, state: PresenceState) -> Transition:
        return Transition(self._room_id, version, key, self._names[key], state)

    def _apply(self, transitions: Iterable[Transition]) -> list[Transition]:
        return [transition for transition in transitions if self._changes(transition)]

    def _changes(self, transition: Transition) -> bool:
        """Apply a transition; return whether it was news."""
        is_there = transition.key in self._names
        if is_there == (transition.state == JOINED):
            return False
        if is_there:
            del self._names[transition.key]
        else:
            self._names[transition.key] = transition.name
        return True
