"""Ends everything of a user, in every process: connections, tokens and tickets.

Each revocation is stored as the user's next *generation*, and an event closes the connections at once. A process that
misses the event finds the row at its next audit (``connections.audit``). Tokens, tickets and connections carry the
generation in which they were made: those of an earlier one are void, also within the same second.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable
from typing import Any

from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from redis.exceptions import RedisError

from realtime.engine.auth.models import Revocation
from realtime.engine.protocol.close import CloseCode

__all__ = [
    "access_event",
    "current_generation",
    "disconnect_channel",
    "disconnect_user",
    "find_revocation",
    "notify_users",
    "revocation_event",
    "revoke_user",
    "send_event",
    "session_event",
    "user_group",
]

logger = logging.getLogger("realtime.auth")

#: What a channel layer raises for an event that it cannot deliver.
UNDELIVERED = (RedisError, OSError, ChannelFull)


def user_group(user_id: Any) -> str:
    """Return the channel-layer group that holds every connection of a user."""
    return f"user.{user_id}"


def revocation_event(reason: str) -> dict[str, Any]:
    """Return the event on which a consumer closes its connection with 3003."""
    return {"type": "connection.revoked", "code": int(CloseCode.FORBIDDEN), "reason": reason}


def session_event(identity: str) -> dict[str, Any]:
    """Return the event on which a consumer closes with 3000 if the session with that identity opened it."""
    return {"type": "connection.session_ended", "session": identity}


def access_event() -> dict[str, Any]:
    """Return the event on which a consumer reads its user again and calls ``access_changed()``."""
    return {"type": "connection.access_changed"}


def revoke_user(user_id: Any, reason: str) -> None:
    """Close every connection of a user with 3003, and refuse tokens and tickets that were issued before.

    It takes effect when the current transaction commits. Synchronous. The user may be deleted already.
    """
    first = {"at": timezone.now(), "reason": reason[:120], "generation": 1}
    further = {**first, "generation": F("generation") + 1}
    Revocation.objects.update_or_create(pk=user_id, defaults=further, create_defaults=first)
    disconnect_user(user_id, reason)


def disconnect_user(user_id: Any, reason: str) -> None:
    """Close every connection of a user with 3003, once; the user may come back. Synchronous."""
    notify_users([user_id], revocation_event(reason))


def notify_users(user_ids: Iterable[Any], event: dict[str, Any]) -> None:
    """Send an event to every connection of some users once the current transaction commits. Synchronous."""
    transaction.on_commit(functools.partial(_send_to_users, list(user_ids), event))


def disconnect_channel(channel: str, reason: str) -> None:
    """Close the connection with that name in the channel layer with 3003. Synchronous."""
    async_to_sync(send_event)(channel, revocation_event(reason))


async def send_event(channel: str, event: dict[str, Any]) -> None:
    """Send an event to the connection with that name in the channel layer."""
    try:
        await get_channel_layer().send(channel, event)
    except UNDELIVERED as error:
        logger.warning("a connection did not get the event %s: %s", event["type"], error)


def find_revocation(user_id: Any) -> Revocation | None:
    """Return the last revocation of a user. Synchronous."""
    return Revocation.objects.filter(pk=user_id).first()


def current_generation(user_id: Any) -> int:
    """Return how often everything of a user has been revoked. Synchronous."""
    revocation = find_revocation(user_id)
    return 0 if revocation is None else revocation.generation


def _send_to_users(user_ids: list[Any], event: dict[str, Any]) -> None:
    layer = get_channel_layer()
    try:
        for user_id in user_ids:
            async_to_sync(layer.group_send)(user_group(user_id), event)
    except UNDELIVERED as error:
        logger.warning("users %s: the event was not sent, the next audit finds the change: %s", user_ids, error)
