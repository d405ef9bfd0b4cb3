"""Ends what a user has open, in every process: when the account is deactivated or deleted, or the password changes.

Each revocation is stored as the user's next *generation*, and an event makes it quick. A process that the event does
not reach finds the row at its next look (``connections.reporter``). Tokens, tickets and connections carry the
generation in which they were made: those of an earlier one are void, also within the same second.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable
from typing import Any

from asgiref.sync import async_to_sync
from channels.db import database_sync_to_async
from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from redis.exceptions import RedisError

from realtime.engine.close import CloseCode
from realtime.engine.connections.models import Revocation

__all__ = [
    "access_event",
    "arevoke_user",
    "current_generation",
    "disconnect_channel",
    "disconnect_user",
    "is_revoked",
    "revocation_event",
    "revoke_user",
    "session_event",
    "tell_users",
    "user_group",
]

logger = logging.getLogger("realtime.auth")


def user_group(user_id: Any) -> str:
    """Return the channel-layer group that holds every connection of a user."""
    return f"user.{user_id}"


def revocation_event(reason: str) -> dict[str, Any]:
    """Return the message on which a consumer closes its connection with 3003."""
    return {"type": "connection.revoked", "code": int(CloseCode.FORBIDDEN), "reason": reason}


def session_event(identity: str) -> dict[str, Any]:
    """Return the message on which a consumer closes with 3000 if the session with that identity has opened it."""
    return {"type": "connection.session_ended", "session": identity}


def access_event() -> dict[str, Any]:
    """Return the message on which a consumer reads its user again, and decides anew."""
    return {"type": "connection.access_changed"}


def revoke_user(user_id: Any, reason: str) -> None:
    """Close every connection of a user with 3003, and refuse tokens that were issued before now.

    It happens when the current transaction commits. Synchronous.

    Args:
        user_id: primary key of the user, who may be deleted already.
        reason: the reason in the close frame.
    """
    revocation = {"at": timezone.now(), "reason": reason[:120]}
    Revocation.objects.update_or_create(
        pk=user_id,
        defaults={**revocation, "generation": F("generation") + 1},
        create_defaults={**revocation, "generation": 1},
    )
    disconnect_user(user_id, reason)


async def arevoke_user(user_id: Any, reason: str) -> None:
    """Do what ``revoke_user()`` does, from asynchronous code."""
    await database_sync_to_async(revoke_user)(user_id, reason)


def disconnect_user(user_id: Any, reason: str) -> None:
    """Close every connection of a user with 3003, once; the user may come back. Synchronous."""
    tell_users([user_id], revocation_event(reason))


def tell_users(user_ids: Iterable[Any], event: dict[str, Any]) -> None:
    """Send an event to every connection of some users once the current transaction commits. Synchronous."""
    transaction.on_commit(functools.partial(_tell_groups, list(user_ids), event))


def disconnect_channel(channel: str, reason: str) -> None:
    """Close one connection with 3003. Synchronous.

    Args:
        channel: its name in the channel layer.
        reason: the reason in the close frame.
    """
    layer = get_channel_layer()
    try:
        async_to_sync(layer.send)(channel, revocation_event(reason))
    except (RedisError, OSError, ChannelFull) as error:
        logger.warning("a connection could not be told to close: %s", error)


def current_generation(user_id: Any) -> int:
    """Return how often everything of a user has been revoked. Synchronous."""
    return Revocation.objects.filter(pk=user_id).values_list("generation", flat=True).first() or 0


def is_revoked(user_id: Any, *, generation: int | None, issued_at: float) -> bool:
    """Tell whether what was issued to a user is void. Synchronous.

    Args:
        user_id: primary key of the user.
        generation: the generation that it carries; None where it carries none, as tokens of others do.
        issued_at: POSIX time in whole seconds, as in a token's ``iat``; counts where there is no generation. What was
            issued in the very second of the revocation is void: nothing tells on which side of it.
    """
    revocation = Revocation.objects.filter(pk=user_id).first()
    if revocation is None:
        return False
    if generation is None:
        return issued_at <= int(revocation.at.timestamp())
    return generation < revocation.generation


def _tell_groups(user_ids: list[Any], event: dict[str, Any]) -> None:
    layer = get_channel_layer()
    try:
        for user_id in user_ids:
            async_to_sync(layer.group_send)(user_group(user_id), event)
    except (RedisError, OSError, ChannelFull) as error:
        logger.warning("users %s: the event did not go out, the database will tell: %s", user_ids, error)
