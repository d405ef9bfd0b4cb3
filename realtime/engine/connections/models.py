"""Processes under a lease, the connections they hold, and users whose connections were ended."""

from __future__ import annotations

from django.conf import settings
from django.db import models

__all__ = ["EndedSession", "LiveConnection", "Process", "Revocation"]


class Process(models.Model):
    """A server process. It is alive while it renews its lease."""

    id = models.UUIDField(primary_key=True)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name_plural = "processes"

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class LiveConnection(models.Model):
    """A WebSocket connection, as its process has reported it. It counts while the process is alive."""

    channel = models.CharField(max_length=120, unique=True, help_text="Its name in the channel layer.")
    process = models.UUIDField(db_index=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        # Connections are reported in batches: a user who was deleted meanwhile must not stop the others' rows.
        db_constraint=False,
        null=True,
        related_name="live_connections",
    )
    endpoint = models.CharField(max_length=200, help_text="Path, without the query.")
    address = models.CharField(max_length=64, blank=True)
    since = models.DateTimeField()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.endpoint} {self.channel}"


class Revocation(models.Model):
    """The moment before which a user's connections and tokens are void."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        # A row has to outlive its user: deleting a user ends the user's connections.
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        primary_key=True,
        related_name="+",
    )
    at = models.DateTimeField(db_index=True)
    reason = models.CharField(max_length=120)
    #: Tokens and tickets carry it: what has a smaller number was issued before, also within the same second.
    generation = models.PositiveBigIntegerField(default=1)

    def __str__(self) -> str:
        return f"user {self.pk} at {self.at:%Y-%m-%d %H:%M:%S}: {self.reason}"


class EndedSession(models.Model):
    """A session that has ended while its cookie is still valid: nothing of it is stored that could be deleted."""

    identity = models.CharField(max_length=64, primary_key=True, help_text="A keyed hash of the session's identity.")
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"until {self.expires_at:%Y-%m-%d %H:%M:%S}"
