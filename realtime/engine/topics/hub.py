"""What the topics of one process share: the batches that are stored, the fan-outs, presence, the channel layer.

There is one hub for each event loop. Its tasks run while the process has a subscriber. Each runs in a context of its
own: it works for all connections, and its log lines name none of them.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import random
import weakref
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec
from django.db import DatabaseError, InterfaceError
from prometheus_client import Gauge

from realtime.engine.connections.lease import RENEWAL, current_lease
from realtime.engine.monitoring.metrics import REGISTRY
from realtime.engine.services.database import DatabaseThreads
from realtime.engine.topics import events
from realtime.engine.topics.batcher import Batcher
from realtime.engine.topics.channel import HubChannel
from realtime.engine.topics.fanout import Reader, TopicFanout
from realtime.engine.topics.limits import limits
from realtime.engine.topics.presence import (
    Change,
    Transition,
    processes_present,
    read_presence,
    read_versions,
    reconcile,
    store_changes,
)
from realtime.engine.topics.store import Entry, Head, Stored, TopicStore
from realtime.engine.topics.subscriber import Subscriber

logger = logging.getLogger("realtime.topics")

#: Reads wait for the database, not for the processor; on SQLite more would only queue up.
READING_THREADS = 2

#: Messages and presence are stored side by side.
WRITING_THREADS = 2

#: Topics whose heads one query reads.
TOPICS_PER_QUERY = 500

#: Presence in doubt is written anew, and once more: a subscriber may have left during the first time.
RECONCILIATIONS = 2

#: Processes compare their fan-outs at different moments.
JITTER = 0.25


class Hub:
    """The topics of one process.

    Attributes:
        fanouts: the fan-outs of the topics that this process has subscribers of, by name.
        publish: queues events of a topic for every process, which are sent one after the other.
    """

    def __init__(self) -> None:
        self._reading = DatabaseThreads("topics-read", READING_THREADS)
        self._storing = DatabaseThreads("topics-write", WRITING_THREADS)
        self._lease = current_lease()
        self._origin = self._lease.process.hex
        self._bounds = {"size": limits().batch, "capacity": limits().queue}
        self._writes: weakref.WeakKeyDictionary[TopicStore[Any], Batcher[Any, Any]] = weakref.WeakKeyDictionary()
        self._changes: Batcher[Change, None] = Batcher(
            "store topic presence", self._store_changes, failed=self._doubt_presence, **self._bounds
        )
        self.fanouts: dict[str, TopicFanout] = {}
        self._doubts = 0
        self._channel = HubChannel(self._handle, lambda: self.spawn(self._reopen()))
        self.publish = self._channel.publish
        self._opening = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[Any]] = set()

    # Subscribers

    async def enter(self, topic: str, head: Head, store: TopicStore[Any] | None, subscriber: Subscriber) -> None:
        """Let a subscriber into the fan-out of a topic.

        Args:
            topic: name of the topic.
            head: where the topic stands, or stood shortly before.
            store: the messages of the topic; None for a topic with live messages only.
            subscriber: the subscriber; ``TopicFanout.settle()`` lets it take part.

        Raises:
            ValueError: if the topic has subscribers with another store.
            RuntimeError: if the store belongs to one process, and the channel layer joins several.
        """
        async with self._opening:
            await self._start()
            if store is not None and not store.is_shared and self._channel.spans_processes:
                raise RuntimeError(
                    f"{type(store).__name__} keeps messages in one process, and the channel layer joins several: "
                    "use a store that they share, such as DatabaseStore."
                )
            fanout = self.fanouts.get(topic)
            if fanout is not None and fanout.store is not store:
                raise ValueError(f"topic {topic!r} has subscribers with another store")
            if fanout is not None and fanout.epoch != head.epoch:
                fanout.end_all()
                fanout.close()
                fanout = None
            if fanout is None:
                await self._channel.add(topic)
                fanout = self.fanouts[topic] = TopicFanout(topic, head, store, self._reader(store), self._read_presence)
            fanout.enter(subscriber)

    async def attend(self, subscriber: Subscriber) -> None:
        """Store that a subscriber is present, with its key and metadata."""
        await self._changes.perform(self._change(subscriber))

    async def identify(self, subscriber: Subscriber, key: str, metadata: dict[str, Any]) -> None:
        """Let a subscriber be present as ``key``, with ``metadata``.

        Where it was present as another one, the others see that one go and this one come.
        """
        if (subscriber.key, subscriber.metadata) == (key, metadata):
            return
        before = None if subscriber.key in (None, key) else self._change(subscriber, leaves=True)
        subscriber.key, subscriber.metadata = key, metadata
        if before is not None:
            await self._changes.perform(before)
        await self.attend(subscriber)

    async def leave(self, subscriber: Subscriber) -> None:
        """Stop passing anything to a subscriber, and store that it has gone; a fan-out without subscribers ends."""
        fanout = subscriber.fanout
        fanout.leave(subscriber)
        if subscriber.key is not None:
            await self._changes.perform(self._change(subscriber, leaves=True))
        async with self._opening:
            if fanout.subscribers or not self._has(fanout):
                return
            del self.fanouts[fanout.name]
            fanout.close()
            await self._channel.discard(fanout.name)
            if not self.fanouts:
                await self._stop()

    def _change(self, subscriber: Subscriber, *, leaves: bool = False) -> Change:
        assert subscriber.key is not None
        return Change(
            topic=subscriber.fanout.name,
            process=self._lease.process,
            connection=subscriber.connection,
            key=subscriber.key,
            metadata=subscriber.metadata,
            leaves=leaves,
        )

    # Reading and writing

    async def read(self, store: TopicStore[Any] | None, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function``, in a thread if ``store`` waits for something; None: it waits for the database."""
        if store is None or store.blocks:
            return await self._reading.run(function, *args)
        return function(*args)

    def _reader(self, store: TopicStore[Any] | None) -> Reader:
        return functools.partial(self.read, store)

    async def _read_presence(self, topic: str) -> Any:
        return await self._reading.run(read_presence, topic)

    async def submit(self, store: TopicStore[Any], write: Any, done: Callable[[Any], None]) -> None:
        """Store a message; ``done`` is called with the outcome once it is passed on to this process' subscribers."""
        if store not in self._writes:
            self._writes[store] = Batcher(
                "store topic messages",
                functools.partial(self._store_writes, store),
                failed=lambda _: store.not_stored,
                **self._bounds,
            )
        await self._writes[store].submit(write, functools.partial(self._written, write.topic, done))

    def _written(self, topic: str, done: Callable[[Any], None], outcome: Any) -> None:
        fanout = self.fanouts.get(topic)
        if isinstance(outcome, Stored) and fanout is not None and fanout.epoch == outcome.epoch:
            fanout.acknowledge(outcome.seq, functools.partial(done, outcome))
        else:
            done(outcome)

    async def _store_writes(self, store: TopicStore[Any], writes: Sequence[Any]) -> Sequence[Any]:
        outcomes = await self._storing.run(store.append, writes) if store.blocks else store.append(writes)
        stored: dict[tuple[str, str], list[Entry]] = {}
        versions: dict[str, int] = {}
        for write, outcome in zip(writes, outcomes, strict=True):
            if isinstance(outcome, Stored) and not outcome.is_repeat:
                entry = Entry(outcome.seq, outcome.text, write.sender)
                stored.setdefault((write.topic, outcome.epoch), []).append(entry)
                versions[write.topic] = outcome.access
        for (topic, epoch), entries in stored.items():
            fanout = self.fanouts.get(topic)
            if fanout is not None:
                fanout.offer(entries, epoch, versions[topic])
            self.publish(topic, events.messages(topic, epoch, versions[topic], entries, self._origin))
        return outcomes

    # Presence

    async def _store_changes(self, changes: Sequence[Change]) -> Sequence[None]:
        self._publish_transitions(await self._storing.run(store_changes, changes))
        return [None] * len(changes)

    def _doubt_presence(self, _: Change | None = None) -> None:
        self._doubts = RECONCILIATIONS

    def _publish_transitions(self, transitions: Sequence[Transition | None]) -> None:
        published: dict[str, list[events.Event]] = {}
        for transition in transitions:
            if transition is None:
                continue
            fanout = self.fanouts.get(transition.topic)
            if fanout is not None:
                fanout.offer_transition(transition)
            published.setdefault(transition.topic, []).append(events.presence(transition, self._origin))
        for topic, news in published.items():
            self.publish(topic, news)

    # From other processes

    async def _handle(self, event: dict[str, Any]) -> None:
        if event["type"] == "layer.resynchronise":
            await self._survive(self._compare())
            return
        fanout = self.fanouts.get(event.get("topic", ""))
        if fanout is None or event.get("origin") == self._origin:
            return
        match event["type"]:
            case "topic.messages":
                fanout.offer((Entry(*fields) for fields in event["entries"]), event["epoch"], event["access"])
            case "topic.presence":
                fanout.offer_transition(msgspec.json.decode(event["transition"], type=Transition))
            case "topic.changed":
                fanout.recheck()
            case "topic.notice":
                fanout.pass_notice(event["text"], event["sender"])

    # The tasks

    async def _start(self) -> None:
        await self._channel.open(self.fanouts)
        if self._watching is None:
            await self._lease.acquire(self._doubt_presence)
            self._watching = asyncio.create_task(self._watch(), context=contextvars.Context())

    async def _stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
            self._watching = None
            await self._lease.release(self._doubt_presence)
        await self._channel.close()

    async def _reopen(self) -> None:
        async with self._opening:
            if self.fanouts:
                await self._start()
        await self._survive(self._compare())

    async def _watch(self) -> None:
        """Look for lost messages, for subscribers of processes that have ended, and for rows that were not written."""
        while True:
            await self._survive(self._reap())
            if self._doubts:
                await self._survive(self._reconcile())
            # Presence may wait for a few rounds; messages may not.
            for _ in range(max(1, round(RENEWAL / limits().tail_check))):
                jitter = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  no secret
                await asyncio.sleep(limits().tail_check * jitter)
                await self._survive(self._compare())

    async def _survive(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (DatabaseError, InterfaceError) as error:
            logger.warning("the topics could not be compared with the database, the next round will: %s", error)

    async def _compare(self) -> None:
        by_store: dict[TopicStore[Any], list[TopicFanout]] = {}
        for fanout in self.fanouts.values():
            if fanout.store is not None:
                by_store.setdefault(fanout.store, []).append(fanout)
        for store, fanouts in by_store.items():
            for chunk in _chunks(fanouts):
                heads = await self.read(store, store.heads, [fanout.name for fanout in chunk])
                for fanout in filter(self._has, chunk):
                    fanout.compare(heads.get(fanout.name))
        for chunk in _chunks(list(self.fanouts.values())):
            versions = await self._reading.run(read_versions, [fanout.name for fanout in chunk])
            for fanout in filter(self._has, chunk):
                fanout.compare_presence(versions.get(fanout.name))

    def _has(self, fanout: TopicFanout) -> bool:
        return self.fanouts.get(fanout.name) is fanout

    async def _reap(self) -> None:
        present = await self._reading.run(processes_present)
        for process in present - await self._lease.processes():
            self._publish_transitions(await self._storing.run(reconcile, process, []))

    async def _reconcile(self) -> None:
        """Make the rows of this process equal to its subscribers."""
        present = [
            self._change(subscriber)
            for fanout in self.fanouts.values()
            for subscriber in fanout.subscribers
            if subscriber.key is not None
        ]
        self._publish_transitions(await self._storing.run(reconcile, self._lease.process, present))
        self._doubts -= 1

    def spawn(self, work: Awaitable[Any]) -> None:
        """Run ``work`` beside everything else, and keep it alive."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _chunks(fanouts: list[TopicFanout]) -> Iterable[list[TopicFanout]]:
    return (fanouts[start : start + TOPICS_PER_QUERY] for start in range(0, len(fanouts), TOPICS_PER_QUERY))


_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = weakref.WeakKeyDictionary()


def active_fanouts(prefix: str = "") -> list[TopicFanout]:
    """Return the fan-outs of this process of topics whose names begin with ``prefix``; for metrics."""
    return [
        fanout
        for hub in list(_hubs.values())
        for fanout in list(hub.fanouts.values())
        if fanout.name.startswith(prefix)
    ]


Gauge("topics_active", "Topics with subscribers in this process.", registry=REGISTRY).set_function(
    lambda: len(active_fanouts())
)
Gauge("topics_subscribers", "Subscriptions of this process to topics.", registry=REGISTRY).set_function(
    lambda: sum(len(fanout.subscribers) for fanout in active_fanouts())
)


def current_hub() -> Hub:
    """Return the hub of the running event loop; made at the first call."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]
