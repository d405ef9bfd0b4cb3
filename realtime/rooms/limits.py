"""Every number of the rooms in one place, each with its reason.

The Django setting ``REALTIME_ROOMS`` is a dict that changes fields of ``Limits``. The constants are fixed: the protocol
or the database relies on them.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

#: ``room.<slug>`` has to be a channel-layer group name, of fewer than 100 characters.
MAX_SLUG = 64

#: Characters of a name that are stored with messages and shown: the columns hold no more.
MAX_NAME = 150

#: A UUID has 36 characters; this leaves room for a client's prefix. Longer ones only cost storage and echo.
MAX_REF = 128

#: Messages on one page of ``History`` and of the API; a page of long messages stays under 1 MiB.
MAX_PAGE = 200

#: Values of ``REALTIME_ROOM_CREATION``, the widest first.
ROOM_CREATION = ("anyone", "authenticated", "staff")


@dataclass(frozen=True, slots=True)
class Limits:
    """What an operator may change.

    Args:
        content_length: characters of one message. Two screens of text; more belongs into a file.
        rooms_per_connection: rooms that one connection may be in; each costs presence and fan-out.
        messages_per_second: commands of one connection on average; no person is that fast.
        burst: commands that one connection may send at once: what piled up while it was offline.
        pending_writes: messages of one connection that may wait for the database. Then its socket is not read.
        write_timeout: seconds that a message may wait for the database before its author gets an error. People do not
            wait longer, and a client that sends it again loses nothing.
        resume: messages that a reconnecting client may have missed; beyond it, it gets the newest ones instead.
        newest: messages that a client gets when it joins without ``since``: one screen.
        batch: messages stored in one transaction; longer ones would hold the locks of their rooms too long.
        queue: messages of the process that may wait for the database, before senders wait.
        outgoing: batches that may wait to be published. Beyond it, other processes find them in the database.
        held: messages that a fan-out keeps while it waits for an earlier one, and news that wait while a member joins.
        tail_check: seconds between two looks at the database for messages whose publication was lost.
        grace: seconds that an overtaken message may be late before it is read from the database.
    """

    content_length: int = 4000
    rooms_per_connection: int = 20
    messages_per_second: float = 50
    burst: int = 1000
    pending_writes: int = 64
    write_timeout: float = 5.0
    resume: int = 1000
    newest: int = 50
    batch: int = 500
    queue: int = 5000
    outgoing: int = 1000
    held: int = 2000
    tail_check: float = 2.0
    grace: float = 0.05


@functools.cache
def limits() -> Limits:
    """Return the limits in force.

    Raises:
        ImproperlyConfigured: if ``REALTIME_ROOMS`` has an unknown name or a number that is not over 0.
    """
    configured: dict[str, Any] = getattr(settings, "REALTIME_ROOMS", {})
    known = {field.name for field in dataclasses.fields(Limits)}
    for name, value in configured.items():
        if name not in known:
            raise ImproperlyConfigured(f"REALTIME_ROOMS: {name!r} is not one of {', '.join(sorted(known))}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise ImproperlyConfigured(f"REALTIME_ROOMS[{name!r}] must be a number over 0, not {value!r}")
    return Limits(**configured)


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "REALTIME_ROOMS":
        limits.cache_clear()


setting_changed.connect(_forget, dispatch_uid="realtime.rooms.limits")
