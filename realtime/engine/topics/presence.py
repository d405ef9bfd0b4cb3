"""Who is present in a topic, across processes: rows that count while their process renews its lease.

A topic's presence version goes up by one with each *transition*: a user who comes with a first connection, goes with
the last one, or has other metadata. Everything here is synchronous and runs in a database thread.
"""

from __future__ import annotations

import collections
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import msgspec
from django.db import transaction
from django.utils import timezone

from realtime.engine.protocol.errors import MessageRefused
from realtime.engine.topics.limits import MAX_METADATA
from realtime.engine.topics.models import PresentConnection, PresentTopic, lock_by_name

State = Literal["joined", "left", "updated"]


class Presence(NamedTuple):
    """One user in a topic.

    Args:
        key: identity: the same for all connections of a user.
        since: when the user came, a POSIX time in seconds.
        metadata: what the endpoint says about the user.
    """

    key: str
    since: float
    metadata: dict[str, Any]


class Transition(NamedTuple):
    """A user has come (``joined``), gone (``left``), or has other metadata (``updated``).

    Args:
        topic: name of the topic.
        version: the topic's presence version with this transition.
        state: what has happened.
        key: identity of the user.
        since: when the user came, a POSIX time in seconds.
        metadata: what the endpoint says about the user.
    """

    topic: str
    version: int
    state: State
    key: str
    since: float
    metadata: dict[str, Any]

    @property
    def presence(self) -> Presence:
        """The user."""
        return Presence(self.key, self.since, self.metadata)


@dataclass(frozen=True, slots=True)
class Change:
    """A connection enters a topic, is there with other metadata, or leaves it."""

    topic: str
    process: uuid.UUID
    connection: str
    key: str
    metadata: dict[str, Any] = field(default_factory=dict)
    leaves: bool = False


def plain_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata as JSON has them, so that every database and channel layer carries them.

    Raises:
        MessageRefused: ``too_large`` over ``MAX_METADATA`` bytes of JSON, ``invalid_message`` for the character U+0000,
            which PostgreSQL cannot store.
        TypeError: if they cannot be written as JSON.
    """
    text = msgspec.json.encode(dict(metadata))
    if len(text) > MAX_METADATA:
        raise MessageRefused("too_large", f"Presence may take {MAX_METADATA} bytes of JSON, not {len(text)}.")
    if rb"\u0000" in text:
        raise MessageRefused("invalid_message", "Presence cannot contain the character U+0000.")
    plain: dict[str, Any] = msgspec.json.decode(text)
    return plain


def store_changes(changes: Sequence[Change]) -> list[Transition | None]:
    """Store changes in one transaction, and return the transition that each one is, None where it is none."""
    with transaction.atomic():
        topics: dict[str, PresentTopic] = lock_by_name(PresentTopic, (change.topic for change in changes))
        stored = list(
            PresentConnection.objects.filter(topic__in=topics.values(), key__in={change.key for change in changes})
        )
        names = {topic.pk: name for name, topic in topics.items()}
        users: dict[tuple[str, str], dict[str, PresentConnection]] = collections.defaultdict(dict)
        for row in stored:
            users[names[row.topic_id], row.key][row.connection] = row
        before = {row.pk: row.metadata for row in stored}
        transitions = [_apply(change, topics[change.topic], users[change.topic, change.key]) for change in changes]
        present = [row for rows in users.values() for row in rows.values()]
        PresentConnection.objects.filter(pk__in=before.keys() - {row.pk for row in present}).delete()
        PresentConnection.objects.bulk_create([row for row in present if row.pk is None])
        changed = [row for row in present if row.pk is not None and row.metadata != before.get(row.pk, row.metadata)]
        PresentConnection.objects.bulk_update(changed, ["metadata"])
        for name in {transition.topic for transition in transitions if transition is not None}:
            PresentTopic.objects.filter(pk=topics[name].pk).update(version=topics[name].version)
        # When it is present again, its version is above all that it had.
        PresentTopic.objects.filter(pk__in=names, connections=None).delete()
    return transitions


def read_presence(topic: str) -> tuple[int | None, dict[str, Presence]]:
    """Return a topic's presence version and who is there, by key, as of one moment; None when nobody is."""
    rows = list(
        PresentTopic.objects.filter(name=topic)
        .order_by("-connections__since")
        .values_list("version", "connections__key", "connections__since", "connections__metadata")
    )
    present = {key: Presence(key, since.timestamp(), metadata) for _, key, since, metadata in rows if key is not None}
    return (rows[0][0] if rows else None), present


def read_versions(topics: Collection[str]) -> dict[str, int]:
    """Return the presence versions of topics, without those in which nobody is."""
    return dict(PresentTopic.objects.filter(name__in=topics).values_list("name", "version"))


def processes_present() -> set[uuid.UUID]:
    """Return the processes that hold connections in topics, as the rows say."""
    return set(PresentConnection.objects.values_list("process", flat=True).distinct())


def reconcile(process: uuid.UUID, present: Iterable[Change]) -> list[Transition]:
    """Make the rows of a process equal to what is true, and return the transitions.

    Several processes may remove the rows of one that has ended: the one that deletes a row returns its transition.

    Args:
        process: identity of the process.
        present: one change for each connection and topic; none for a process that has ended.
    """
    wanted = {(change.topic, change.connection): change for change in present}
    rows = PresentConnection.objects.filter(process=process).select_related("topic")
    stored = {
        (row.topic.name, row.connection): Change(row.topic.name, process, row.connection, row.key, leaves=True)
        for row in rows
    }
    changes = [change for place, change in stored.items() if place not in wanted]
    changes += [change for place, change in wanted.items() if place not in stored]
    return [transition for transition in store_changes(changes) if transition is not None]


def _apply(change: Change, topic: PresentTopic, present: dict[str, PresentConnection]) -> Transition | None:
    """Apply a change to the rows of its user in its topic, by connection."""
    others = list(present.values())
    state: State
    if change.leaves:
        gone = present.pop(change.connection, None)
        if gone is None or present:
            return None
        state, since, metadata = "left", gone.since, gone.metadata
    else:
        now, metadata = timezone.now(), change.metadata
        since = min((row.since for row in others), default=now)
        if change.connection not in present:
            present[change.connection] = PresentConnection(
                topic=topic,
                process=change.process,
                connection=change.connection,
                key=change.key,
                metadata=metadata,
                since=now,
            )
        if others and all(row.metadata == metadata for row in others):
            return None
        for row in others:
            row.metadata = metadata
        state = "updated" if others else "joined"
    topic.version += 1
    return Transition(change.topic, topic.version, state, change.key, since.timestamp(), metadata)
