"""Ends what a user has open, in every process: when the account is deactivated or deleted, or the password changes.

The moment is stored, and an event makes it quick. A process that the event does not reach finds the row at its next
look (``realtime.live.reporter``), and tokens that were issued before that moment are refused from then on.
"""

from __future__ import annotations

import logging
from typing import Any

from asgiref.sync import async_to_sync
from channels.db import database_sync_to_async
from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from django.db import transaction
from django.utils import timezone
from redis.exceptions import RedisError

from realtime.close import CloseCode
from realtime.live.models import Revocation

__all__ = [
    "arevoke_user",
    "disconnect_channel",
    "disconnect_user",
    "is_revoked",
    "revocation_event",
    "revoke_user",
    "user_group",
]

logger = logging.getLogger("realtime.auth")


def user_group(user_id: Any) -> str:
    """Return the channel-layer group that holds every connection of a user."""
    return f"user.{user_id}"


def revocation_event(reason: str) -> dict[str, Any]:
    """Return the message on which a consumer closes its connection with 3003."""
    return {"type": "connection.revoked", "code": int(CloseCode.FORBIDDEN), "reason": reason}


def revoke_user(user_id: Any, reason: str) -> None:
    """Close every connection of a user with 3003, and refuse tokens that were issued before now.

    It happens when the current transaction commits. Synchronous.

    Args:
        user_id: primary key of the user, who may be deleted already.
        reason: the reason in the close frame.
    """
    Revocation.objects.update_or_create(pk=user_id, defaults={"at": timezone.now(), "reason": reason[:120]})
    disconnect_user(user_id, reason)


async def arevoke_user(user_id: Any, reason: str) -> None:
    """Do what ``revoke_user()`` does, from asynchronous code."""
    await database_sync_to_async(revoke_user)(user_id, reason)


def disconnect_user(user_id: Any, reason: str) -> None:
    """Close every connection of a user with 3003, once; the user may come back. Synchronous."""
    transaction.on_commit(lambda: _tell_group(user_id, reason))


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


def is_revoked(user_id: Any, issued_at: float) -> bool:
    """Tell whether what was issued to a user at that time is void. Synchronous.

    Args:
        user_id: primary key of the user.
        issued_at: POSIX time in whole seconds, as in a token's ``iat``. A token of the very second of the
            revocation counts as newer: it may be the first one after a change of password.
    """
    at = Revocation.objects.filter(pk=user_id).values_list("at", flat=True).first()
    return at is not None and issued_at < int(at.timestamp())


def _tell_group(user_id: Any, reason: str) -> None:
    layer = get_channel_layer()
    try:
        async_to_sync(layer.group_send)(user_group(user_id), revocation_event(reason))
    except (RedisError, OSError, ChannelFull) as error:
        logger.warning("user %s: the event did not go out, the database will tell: %s", user_id, error)
