"""``DatabaseStore``: the messages of topics in Django's database; and how any store there deals with its failures."""

from __future__ import annotations

import abc
import datetime
import logging
from collections.abc import Collection, Sequence
from typing import Any

from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import F, QuerySet, Subquery
from django.utils import timezone

from realtime.engine.topics.messages import Publication, encode_published
from realtime.engine.topics.models import Topic, TopicMessage, lock_by_name
from realtime.engine.topics.store import Entry, Head, Stored, TopicStore, W

__all__ = ["DatabaseStore", "TransactionalStore"]

logger = logging.getLogger("realtime.topics")

#: A topic is pruned each time that this share of what it keeps has been added.
PRUNED_SHARE = 10


class TransactionalStore(TopicStore[W]):
    """A store in Django's database: neither a lost connection nor a message that is refused loses another one."""

    @abc.abstractmethod
    def store(self, writes: Sequence[W], perhaps_stored: Sequence[W]) -> list[Any]:
        """Store messages in one transaction, and return one outcome for each.

        Args:
            writes: the messages.
            perhaps_stored: those among them that may be in the database already, and are not stored again then.
        """

    @abc.abstractmethod
    def may_repeat(self, write: W) -> bool:
        """Return whether the client may have sent a message before."""

    def append(self, writes: Sequence[W]) -> list[Any]:
        """Store messages in one transaction and return the outcome of each, in order.

        A transaction whose connection was lost is tried once more; a message that was committed after all is then
        found, and not stored again. A message that the database refuses is singled out; the others are stored.

        Raises:
            OperationalError: if the database cannot be reached.
        """
        try:
            return self.store(writes, [write for write in writes if self.may_repeat(write)])
        except (DataError, IntegrityError):
            if len(writes) == 1:
                logger.exception("the database refused a message for topic %s", writes[0].topic)
                return [self.not_stored]
            return [self.append([write])[0] for write in writes]
        except (OperationalError, InterfaceError):
            if connection.in_atomic_block:
                raise  # of a caller's transaction, which is lost as a whole
            connection.close()
            return self.store(writes, writes)


class DatabaseStore(TransactionalStore[Publication]):
    """Keeps the newest messages of each topic in the database, for every process and across restarts.

    A topic is made by its first use.

    Args:
        keep: messages of one topic; a tenth more may be there. None for all.
    """

    def __init__(self, *, keep: int | None = 1000) -> None:
        self._keep = keep

    def encode(self, publication: Publication, seq: int, at: datetime.datetime) -> str:
        """Return what subscribers get of a message; override it for a format of your own."""
        return encode_published(publication.topic, publication.data, at, seq)

    def may_repeat(self, write: Publication) -> bool:
        """Return whether a message has a key."""
        return write.key is not None

    def store(self, writes: Sequence[Publication], perhaps_stored: Sequence[Publication]) -> list[Stored]:
        """Store messages under the locks of their topics."""
        now = timezone.now()
        with transaction.atomic():
            topics: dict[str, Topic] = lock_by_name(Topic, (write.topic for write in writes))
            before = {name: topic.last_seq for name, topic in topics.items()}
            known = self._known(topics, perhaps_stored)
            rows: list[TopicMessage] = []
            outcomes: list[Stored] = []
            for write in writes:
                topic, place = topics[write.topic], (write.topic, write.identity)
                is_repeat = place in known
                if not is_repeat:
                    topic.last_seq += 1
                    known[place] = TopicMessage(
                        topic=topic,
                        seq=topic.last_seq,
                        data=write.data,
                        at=now,
                        sender=write.sender,
                        key=write.identity,
                    )
                    rows.append(known[place])
                row = known[place]
                text = self.encode(write, row.seq, row.at)
                outcomes.append(Stored(str(topic.epoch), row.seq, row.at, text, topic.access_version, is_repeat))
            TopicMessage.objects.bulk_create(rows)
            for name, topic in topics.items():
                Topic.objects.filter(pk=topic.pk).update(last_seq=topic.last_seq)
                self._prune(topic, before[name])
        return outcomes

    def heads(self, topics: Collection[str]) -> dict[str, Head]:
        """Return where topics stand."""
        rows = Topic.objects.filter(name__in=topics).values_list("name", "epoch", "last_seq", "access_version")
        return {name: Head(str(epoch), *counters) for name, epoch, *counters in rows}

    def open(self, topic: str) -> Head:
        """Return where a topic stands; a new one is made."""
        row, _ = Topic.objects.get_or_create(name=topic)
        return Head(str(row.epoch), row.last_seq, row.access_version)

    def raise_access(self, topic: str) -> None:
        """Raise the version of the rights in a topic, in the caller's transaction if there is one."""
        with transaction.atomic():
            row = lock_by_name(Topic, [topic])[topic]
            Topic.objects.filter(pk=row.pk).update(access_version=F("access_version") + 1)

    def read_after(self, topic: str, after: int, upto: int, limit: int) -> list[Entry]:
        """Return the messages with numbers over ``after`` and not over ``upto``."""
        rows = self._rows(topic).filter(seq__gt=after, seq__lte=upto).order_by("seq")
        return [self._entry(topic, row) for row in rows[:limit]]

    def read_before(self, topic: str, before: int | None, limit: int) -> list[Entry]:
        """Return the last messages with numbers under ``before``, or the newest."""
        rows = self._rows(topic)
        if before is not None:
            rows = rows.filter(seq__lt=before)
        return [self._entry(topic, row) for row in reversed(list(rows.order_by("-seq")[:limit]))]

    def keeps(self, topic: str, seq: int) -> bool:
        """Return whether a message was not pruned."""
        return self._rows(topic).filter(seq=seq).exists()

    def forget(self, topic: str) -> None:
        """Delete a topic with its messages. Its subscribers are ended."""
        Topic.objects.filter(name=topic).delete()

    def _known(self, topics: dict[str, Topic], writes: Sequence[Publication]) -> dict[tuple[str, str], TopicMessage]:
        if not writes:
            return {}
        names = {topic.pk: name for name, topic in topics.items()}
        rows = TopicMessage.objects.filter(topic__in=names, key__in=[write.identity for write in writes])
        return {(names[row.topic_id], row.key): row for row in rows}

    def _prune(self, topic: Topic, before: int) -> None:
        if self._keep is None:
            return
        step = max(1, self._keep // PRUNED_SHARE)
        if before // step != topic.last_seq // step:
            topic.messages.filter(seq__lte=topic.last_seq - self._keep).delete()

    def _rows(self, topic: str) -> QuerySet[TopicMessage]:
        # A subquery, not a join: the index of topic and number then gives the order as well.
        return TopicMessage.objects.filter(topic_id=Subquery(Topic.objects.filter(name=topic).values("pk")[:1]))

    def _entry(self, topic: str, row: TopicMessage) -> Entry:
        publication = Publication(topic, row.data, row.sender, row.key)
        return Entry(row.seq, self.encode(publication, row.seq, row.at), row.sender)
