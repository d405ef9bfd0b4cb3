"""Topics: what a client has entered on one connection, and goes on with after a break where it was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

#: Seconds: the largest pause before a topic is asked for, or left, again.
COMMAND_PAUSE = 4.0
#: Errors of the server that pass; what was refused for another reason is not sent again.
PASSING = frozenset({"rate_limited", "internal"})

Joined = TypeVar("Joined")
Item = TypeVar("Item")


@dataclass(frozen=True)
class TopicFields:
    """The field that names a topic, its numbered messages, and the answers that carry such a number."""

    key: str
    item: type[msgspec.Struct]
    seen: tuple[type[msgspec.Struct], ...]


class Position:
    """How far a topic has been read; an acknowledgement may overtake a message of somebody else."""

    def __init__(self, epoch: str, seq: int) -> None:
        self.epoch, self.seq = epoch, seq
        self._ahead: set[int] = set()

    def see(self, seq: int) -> bool:
        """Note a message, and return whether it is new."""
        if seq <= self.seq or seq in self._ahead:
            return False
        self._ahead.add(seq)
        while self.seq + 1 in self._ahead:
            self.seq += 1
            self._ahead.remove(self.seq)
        return True


@dataclass(eq=False)
class Subscription(Generic[Joined, Item]):
    """A topic that a client is in, or wants to be in; ``position`` is None until the server has let it in."""

    name: str
    on_message: Callable[[Item], Any]
    on_joined: Callable[[Joined], Any]
    on_left: Callable[[Any], Any]
    position: Position | None = field(default=None, init=False)


class Topics(Generic[Joined, Item]):
    """The topics of one client.

    Args:
        fields: of its messages.
        send: sends a message, and returns whether there was a connection.
        call: calls a listener.
        spawn: runs a coroutine for as long as the client lives.
        random: from 0 to 1.
    """

    def __init__(
        self,
        fields: TopicFields,
        send: Callable[[dict[str, Any]], Awaitable[bool]],
        call: Callable[[Callable[[Any], Any], Any], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        random: Callable[[], float],
    ) -> None:
        self._fields, self._send, self._call, self._spawn, self._random = fields, send, call, spawn, random
        self._known: dict[str, Subscription[Joined, Item]] = {}
        #: Topics whose ``Leave`` is not answered yet.
        self._leaving: set[str] = set()

    async def subscribe(self, subscription: Subscription[Joined, Item]) -> Subscription[Joined, Item]:
        """Enter a topic, in place of an earlier subscription to it."""
        self._known[subscription.name] = subscription
        if subscription.name not in self._leaving:
            await self._join(subscription)
        return subscription

    async def unsubscribe(self, name: str) -> None:
        """Leave a topic."""
        if self._end(name, None) and name not in self._leaving and await self._command("Leave", name):
            self._leaving.add(name)

    async def opened(self) -> None:
        """Enter every topic: there is a connection, which is in none yet."""
        for subscription in [*self._known.values()]:
            await self._join(subscription)

    def interrupted(self) -> None:
        """Expect no more answers: the connection has ended."""
        self._leaving.clear()

    async def received(self, message: Any) -> bool:
        """Handle a message of the server, and return whether it is for a topic alone."""
        tag, name = tag_of(type(message)), getattr(message, self._fields.key, "")
        if tag == "Error":
            return await self._refused(message)
        if tag == "Left" and not await self._has_left(name):
            self._end(name, None)
        subscription = self._known.get(name)
        if subscription is None:
            return False
        is_item = isinstance(message, self._fields.item)
        if tag == "Joined":
            self._joined(subscription, message)
        elif subscription.position is not None and (is_item or isinstance(message, self._fields.seen)):
            is_new = subscription.position.see(message.seq)
            if is_item and is_new:
                self._call(subscription.on_message, message)
        return is_item or tag == "Joined"

    def _joined(self, subscription: Subscription[Joined, Item], message: Any) -> None:
        before = subscription.position
        subscription.position = Position(message.epoch, message.seq)
        if before is not None and message.recovered:
            missed = [each for each in message.messages if before.see(each.seq)]
            message = msgspec.structs.replace(message, messages=missed)
        self._call(subscription.on_joined, message)

    async def _refused(self, error: Any) -> bool:
        command, _, name = (error.ref or "").partition(":")
        if command not in ("join", "leave"):
            return False
        subscription = self._known.get(name)
        # Of new topics: it lasts up to an hour, for which nobody is left to wait.
        is_quota = error.code == "rate_limited" and subscription is not None and subscription.position is None
        if error.code in PASSING and not (command == "join" and is_quota):
            self._spawn(self._ask_again(command, name))
        elif command == "leave":
            await self._has_left(name)
        else:
            self._end(name, error)
        return command == "leave"

    async def _ask_again(self, command: str, name: str) -> None:
        await asyncio.sleep(COMMAND_PAUSE * self._random())
        if command == "leave" and name in self._leaving:
            await self._command("Leave", name)
        elif command == "join" and name in self._known:
            await self._join(self._known[name])

    async def _has_left(self, name: str) -> bool:
        """Note the answer to a ``Leave``, and ask for the topic again if it was subscribed to meanwhile."""
        expected = name in self._leaving
        self._leaving.discard(name)
        if expected and name in self._known:
            await self._join(self._known[name])
        return expected

    def _end(self, name: str, error: Any) -> bool:
        subscription = self._known.pop(name, None)
        if subscription is not None:
            self._call(subscription.on_left, error)
        return subscription is not None

    async def _join(self, subscription: Subscription[Joined, Item]) -> None:
        position = subscription.position
        since = {} if position is None else {"since": {"epoch": position.epoch, "seq": position.seq}}
        await self._command("Join", subscription.name, **since)

    async def _command(self, kind: str, name: str, **rest: Any) -> bool:
        return await self._send({"type": kind, self._fields.key: name, "ref": f"{kind.lower()}:{name}", **rest})


def tag_of(kind: type[msgspec.Struct]) -> str:
    """Return the ``type`` of the messages that are such structs."""
    return str(kind.__struct_config__.tag)
