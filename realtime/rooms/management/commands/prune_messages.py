"""``manage.py prune_messages``: delete old messages."""

from __future__ import annotations

import datetime
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet
from django.utils import timezone

from realtime.rooms.models import Room
from realtime.rooms.services import PRUNE_BATCH, oldest_kept, prune_room


class Command(BaseCommand):
    """Deletes old messages in small transactions, so that rooms stay usable meanwhile."""

    help = "Delete old messages of rooms, in batches. The numbers of a room go on; only its beginning is gone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=float, required=True, help="delete messages that are older than this")
        parser.add_argument("--keep", type=int, default=0, help="but keep the newest so many of each room (0)")
        parser.add_argument("--room", action="append", metavar="SLUG", help="only this room; may be given repeatedly")
        parser.add_argument(
            "--batch", type=int, default=PRUNE_BATCH, help=f"messages in one transaction ({PRUNE_BATCH})"
        )
        parser.add_argument("--pause", type=float, default=0.05, help="seconds between two transactions (0.05)")
        parser.add_argument("--dry-run", action="store_true", help="only say how many would be deleted")

    def handle(self, *args: Any, **options: Any) -> None:
        if min(options["days"], options["keep"], options["pause"]) < 0 or options["batch"] < 1:
            raise CommandError("--days, --keep and --pause are not negative, --batch is at least 1.")
        before = timezone.now() - datetime.timedelta(days=options["days"])
        total = sum(self._prune(room, before, options) for room in self._rooms(options["room"]))
        verb = "Would delete" if options["dry_run"] else "Deleted"
        self.stdout.write(self.style.SUCCESS(f"{verb} {total} messages from before {before:%Y-%m-%d %H:%M} UTC."))

    def _rooms(self, slugs: list[str] | None) -> QuerySet[Room]:
        if slugs is None:
            return Room.objects.all()
        rooms = Room.objects.filter(slug__in=slugs)
        if unknown := set(slugs) - {room.slug for room in rooms}:
            raise CommandError(f"There is no room {', '.join(sorted(unknown))}.")
        return rooms

    def _prune(self, room: Room, before: datetime.datetime, options: dict[str, Any]) -> int:
        bound = oldest_kept(room, before, options["keep"])
        if options["dry_run"]:
            return room.messages.filter(seq__lt=bound).count()
        deleted = 0
        while count := prune_room(room, bound, options["batch"]):
            deleted += count
            self.stdout.write(f"{room.slug}: {deleted} deleted")
            time.sleep(options["pause"])
        return deleted
