"""Rooms, their memberships and messages."""

from __future__ import annotations

import functools
import re
import uuid
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models import Count, F, OuterRef, Subquery, Value
from django.db.models.functions import Coalesce, Concat
from django.db.models.signals import post_delete
from django.dispatch import Signal, receiver
from django.utils.translation import gettext_lazy as _

from realtime.engine.topics.models import PresentConnection
from realtime.rooms.limits import MAX_NAME, MAX_SLUG

__all__ = ["SLUG", "Membership", "Role", "Room", "RoomMessage", "raise_access_version", "room_changed", "topic_of"]

#: What a room may be called: legal in a path, and after ``room.`` in a channel-layer group name.
SLUG = re.compile(r"[-a-zA-Z0-9_]{1," + str(MAX_SLUG) + "}")


def topic_of(slug: str) -> str:
    """Return the topic of a room, which is also the channel-layer group of its members."""
    return f"room.{slug}"


#: Sent with ``slug`` once a change of a room or its memberships is committed.
room_changed = Signal()


def raise_access_version(room_ids: Iterable[int]) -> None:
    """Have every process read the settings and memberships of rooms again.

    Call it in the transaction of the change: no message that is stored later is passed on under the old rights.
    """
    # In an order that cannot deadlock with lock_rooms().
    for room_id, slug in Room.objects.filter(pk__in=room_ids).order_by("pk").values_list("pk", "slug"):
        Room.objects.filter(pk=room_id).update(access_version=F("access_version") + 1)
        _announce(slug)


def _announce(slug: str) -> None:
    transaction.on_commit(functools.partial(room_changed.send, Room, slug=slug))


class RoomQuerySet(models.QuerySet["Room"]):
    """Rooms, whose ``access_version`` rises with an update of who may do what in them."""

    #: Fields that decide about that.
    RIGHTS = frozenset({"is_public", "anonymous_may_read", "anonymous_may_post", "is_archived", "closings"})

    def update(self, **values: Any) -> int:
        if self.RIGHTS.isdisjoint(values):
            return super().update(**values)
        with transaction.atomic(using=self.db):
            for slug in self.order_by().values_list("slug", flat=True):
                _announce(slug)
            return super().update(access_version=F("access_version") + 1, **values)

    def with_presence(self) -> Any:
        """Annotate each room with how many ``users`` and ``connections`` are there."""
        topic = Concat(Value(topic_of("")), OuterRef("slug"))
        there = PresentConnection.objects.filter(topic__name=topic).order_by().values("topic")
        return self.annotate(
            users=Coalesce(Subquery(there.values_list(Count("key", distinct=True))), 0),
            connections=Coalesce(Subquery(there.values_list(Count("pk"))), 0),
        )


class Room(models.Model):
    """A place where messages have one order.

    Its row is also the lock of the room, held while a number is given out, or while who may do what is changed.
    The counters are written by ``update()`` only; ``save()`` never touches them.
    """

    #: Fields that save() leaves alone: a form that was opened before the last message must not set last_seq back.
    COUNTERS = ("last_seq", "access_version", "closings")

    slug = models.CharField(
        _("slug"),
        max_length=MAX_SLUG,
        unique=True,
        validators=[RegexValidator(rf"^{SLUG.pattern}\Z", _("Letters, digits, '-' and '_' only."))],
        help_text=_("The name in addresses and messages. It cannot be changed later."),
    )
    epoch = models.UUIDField(
        default=uuid.uuid4, editable=False, help_text="Identity of the numbering; a room made anew has another one."
    )
    title = models.CharField(_("title"), max_length=100, blank=True)
    is_public = models.BooleanField(_("public"), default=True, help_text=_("Everybody who is signed in may enter."))
    anonymous_may_read = models.BooleanField(
        _("anonymous may read"), default=True, help_text=_("In a public room: anonymous users may enter and read.")
    )
    anonymous_may_post = models.BooleanField(
        _("anonymous may post"), default=False, help_text=_("In a public room: anonymous users may write too.")
    )
    is_archived = models.BooleanField(_("archived"), default=False, help_text=_("Can be read, and not be written to."))
    member_limit = models.PositiveIntegerField(
        _("member limit"), null=True, blank=True, help_text=_("Empty for no limit.")
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("created by"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    quota_key = models.CharField(
        max_length=64,
        default="",
        editable=False,
        help_text="Whose quota of new rooms it counts for: a user, or a hash of an address.",
    )

    last_seq = models.BigIntegerField(_("messages"), default=0, editable=False)
    access_version = models.BigIntegerField(default=0, editable=False)
    closings = models.BigIntegerField(default=0, editable=False)

    objects = RoomQuerySet.as_manager()

    class Meta:
        verbose_name = _("room")
        verbose_name_plural = _("rooms")
        ordering = ["slug"]
        indexes = [models.Index(fields=["quota_key", "created_at"], name="new_rooms_of_a_creator")]

    def __str__(self) -> str:
        return self.slug

    def save(self, **options: Any) -> None:
        """Save everything but the counters of a room that exists already."""
        is_new = self._state.adding
        if not is_new and options.get("update_fields") is None and not options.get("force_insert"):
            options["update_fields"] = [
                field.attname
                for field in self._meta.concrete_fields
                if not field.primary_key and field.attname not in self.COUNTERS
            ]
        with transaction.atomic(using=options.get("using"), savepoint=False):
            super().save(**options)
            if not is_new:
                raise_access_version([self.pk])


class Role(models.TextChoices):
    """What a user is in a room."""

    MEMBER = "member", _("Member")
    MODERATOR = "moderator", _("Moderator")
    BANNED = "banned", _("Banned")


class MembershipQuerySet(models.QuerySet["Membership"]):
    """Memberships, with whose changes the ``access_version`` of their rooms rises."""

    def update(self, **values: Any) -> int:
        with transaction.atomic(using=self.db):
            before = dict(self.order_by().values_list("pk", "room_id"))
            count = super().update(**values)
            after = self.model.objects.using(self.db).filter(pk__in=before).values_list("room_id", flat=True)
            raise_access_version({*before.values(), *after})
        return count

    def bulk_create(self, objs: Iterable[Any], *args: Any, **options: Any) -> list[Any]:
        memberships = list(objs)
        with transaction.atomic(using=self.db):
            created = super().bulk_create(memberships, *args, **options)
            raise_access_version({membership.room_id for membership in memberships})
        return created


class Membership(models.Model):
    """A user's role in a room."""

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("user"), on_delete=models.CASCADE, related_name="room_memberships"
    )
    role = models.CharField(_("role"), max_length=10, choices=Role, default=Role.MEMBER)
    since = models.DateTimeField(_("since"), auto_now_add=True)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        ordering = ["room", "user"]
        constraints = [models.UniqueConstraint(fields=["room", "user"], name="one_membership_for_each_user_and_room")]

    def __str__(self) -> str:
        return f"{self.user} in {self.room}: {self.role}"

    def save(self, **options: Any) -> None:
        """Save, in one transaction with the room's ``access_version``."""
        # A new member gains rights. Only a user who is banned without ever having entered loses some.
        takes_rights = not self._state.adding or self.role == Role.BANNED
        with transaction.atomic(using=options.get("using"), savepoint=False):
            super().save(**options)
            if takes_rights:
                raise_access_version([self.room_id])


class RoomMessage(models.Model):
    """A message. Rows are never deleted one by one: the numbers of a room have no holes."""

    room = models.ForeignKey(Room, verbose_name=_("room"), on_delete=models.CASCADE, related_name="messages")
    seq = models.BigIntegerField(_("seq"), editable=False, help_text="The message's number in its room, from 1.")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("author"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="room_messages",
    )
    name = models.CharField(_("name"), max_length=MAX_NAME, help_text=_("The author's name at that time."))
    content = models.TextField(_("content"))
    at = models.DateTimeField(_("at"))
    connection = models.CharField(
        max_length=100, blank=True, editable=False, help_text="The connection that sent it, and gets no copy."
    )
    idempotency_key = models.CharField(
        max_length=64, editable=False, help_text="A message that is sent again has the same key."
    )
    is_hidden = models.BooleanField(_("hidden"), default=False)

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        ordering = ["room", "seq"]
        constraints = [
            models.UniqueConstraint(fields=["room", "seq"], name="one_message_for_each_number"),
            models.UniqueConstraint(fields=["room", "idempotency_key"], name="one_message_for_each_ref"),
        ]

    def __str__(self) -> str:
        return f"{self.room_id}/{self.seq} {self.name}"


@receiver(post_delete, sender=Room, dispatch_uid="realtime.rooms.room_deleted")
def _room_deleted(instance: Room, **_: Any) -> None:
    _announce(instance.slug)


@receiver(post_delete, sender=Membership, dispatch_uid="realtime.rooms.membership_deleted")
def _membership_deleted(instance: Membership, origin: Any, **_: Any) -> None:
    if not isinstance(origin, Room):
        raise_access_version([instance.room_id])
