"""What a process knows of an open connection."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

from realtime.engine.auth.sessions import LoginSession

#: The hash of a user's password, which never leaves the process, and the flags that decide about rights.
Rights = tuple[str, bool, bool]


def rights_of(user: Any) -> Rights:
    """Return the rights in the row of a user."""
    return user.password, getattr(user, "is_staff", False), getattr(user, "is_superuser", False)


@dataclass(frozen=True, slots=True)
class Connection:
    """One accepted WebSocket connection."""

    channel: str
    """Its name in the channel layer."""
    user_id: Any
    """Primary key of its user; None for an anonymous one."""
    endpoint: str
    """The path, without the query, which may hold a ticket."""
    address: str
    """The client's address, of IPv6 its /64 network; empty on a UNIX socket."""
    since: datetime.datetime
    generation: int = 0
    """How often everything of its user had been revoked when the user was identified."""
    rights: Rights | None = field(default=None, repr=False)
    """The user's rights then; None for an anonymous one."""
    session: LoginSession | None = None
    """The login session that opened it; None for a token and for an anonymous user."""
