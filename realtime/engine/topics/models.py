"""Topics of ``DatabaseStore`` and their messages; and who is present in topics of any store."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Any

from django.db import models

from realtime.engine.topics.limits import MAX_KEY, MAX_NAME

__all__ = ["PresentConnection", "PresentTopic", "Topic", "TopicMessage", "lock_by_name"]


def lock_by_name(model: type[models.Model], names: Iterable[str]) -> dict[str, Any]:
    """Return the rows of topics by name, made where needed, and locked until the end of the transaction.

    One statement makes a row or locks it, in an order that cannot deadlock, also while another transaction deletes it.
    """
    rows: Any = model._default_manager
    wanted = sorted(set(names))
    rows.bulk_create(
        [model(name=name) for name in wanted], update_conflicts=True, unique_fields=["name"], update_fields=["name"]
    )
    return {row.name: row for row in rows.filter(name__in=wanted)}


class Topic(models.Model):
    """A topic with messages. Its row is the lock under which their numbers are given out."""

    name = models.CharField(max_length=MAX_NAME, unique=True)
    epoch = models.UUIDField(
        default=uuid.uuid4, help_text="Identity of the numbering; a topic made anew has another one."
    )
    last_seq = models.BigIntegerField(default=0)
    access_version = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return self.name


class TopicMessage(models.Model):
    """A message. Only the oldest are deleted: the numbers of a topic have no holes."""

    topic = models.ForeignKey(Topic, on_delete=models.CASCADE, related_name="messages")
    seq = models.BigIntegerField(help_text="The message's number in its topic, from 1.")
    data = models.TextField(help_text="JSON.")
    at = models.DateTimeField()
    sender = models.CharField(max_length=100, blank=True, help_text="The connection that sent it, and gets no copy.")
    key = models.CharField(max_length=64, help_text="A message that is sent again has the same key.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["topic", "seq"], name="one_topic_message_for_each_number"),
            models.UniqueConstraint(fields=["topic", "key"], name="one_topic_message_for_each_key"),
        ]

    def __str__(self) -> str:
        return f"{self.topic_id}/{self.seq}"


def first_version() -> int:
    """Return a version above all that an earlier row of the same topic had: the time in milliseconds."""
    return time.time_ns() // 1_000_000


class PresentTopic(models.Model):
    """A topic in which somebody is present. Its row is the lock under which presence is changed."""

    name = models.CharField(max_length=MAX_NAME, unique=True)
    version = models.BigIntegerField(default=first_version, help_text="Goes up by one with each transition.")

    def __str__(self) -> str:
        return self.name


class PresentConnection(models.Model):
    """One connection in one topic. It counts while the process that holds the connection renews its lease."""

    # Nothing is deleted but connections, and then the topics that have none.
    topic = models.ForeignKey(PresentTopic, on_delete=models.DO_NOTHING, related_name="connections")
    process = models.UUIDField(db_index=True)
    connection = models.CharField(max_length=100)
    key = models.CharField(max_length=MAX_KEY, help_text="Identity: the same for all connections of a user.")
    metadata = models.JSONField(default=dict)
    since = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["topic", "connection"], name="one_presence_for_each_connection")]
        indexes = [models.Index(fields=["topic", "key"], name="presence_of_a_user")]

    def __str__(self) -> str:
        return f"{self.key} in {self.topic_id}"
