"""Server processes and their connections."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


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

    @classmethod
    def alive(cls) -> models.QuerySet[Process]:
        """Return the processes whose lease has not run out."""
        return cls.objects.filter(expires_at__gt=timezone.now())


class LiveConnection(models.Model):
    """A WebSocket connection, as its process has reported it. It counts while the process is alive."""

    channel = models.CharField(max_length=120, unique=True, help_text="Its name in the channel layer.")
    process = models.UUIDField(db_index=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.SET_NULL,
        # Connections are reported in batches: a user who was deleted meanwhile must not stop the others' rows.
        db_constraint=False,
        null=True,
        related_name="live_connections",
    )
    endpoint = models.CharField(_("endpoint"), max_length=200, help_text="Path, without the query.")
    address = models.CharField(_("address"), max_length=64, blank=True)
    since = models.DateTimeField(_("since"))

    class Meta:
        verbose_name = _("live connection")
        verbose_name_plural = _("Live connections")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.endpoint} {self.channel}"

    @classmethod
    def alive(cls) -> models.QuerySet[LiveConnection]:
        """Return the connections of processes that are alive."""
        return cls.objects.filter(process__in=Process.alive().values("pk"))
