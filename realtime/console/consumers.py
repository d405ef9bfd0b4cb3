"""``/ws/admin/live``: what the live page of the admin shows, for staff."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
from django.db import DatabaseError

from realtime.console.monitor import (
    Announce,
    Disconnect,
    Done,
    MonitorCommand,
    MonitorEvent,
    Refused,
    announce,
    overview,
)
from realtime.engine import (
    KIB,
    MIB,
    Authentication,
    CloseCode,
    HandshakeRejected,
    Message,
    PolicyConsumer,
    SocketPolicy,
    in_monitor_thread,
)
from realtime.engine.auth.revocation import disconnect_channel

__all__ = ["MonitorConsumer"]

logger = logging.getLogger("realtime.live")

#: Seconds between two overviews.
INTERVAL = 1.0

_decoder: msgspec.json.Decoder[MonitorCommand] = msgspec.json.Decoder(MonitorCommand)
_encoder = msgspec.json.Encoder()


class MonitorConsumer(PolicyConsumer):
    """Tells staff every second what is connected, and ends connections or announces something for them."""

    policy = SocketPolicy(
        max_message_size=64 * KIB,
        max_write_buffer_size=1 * MIB,
        max_messages_per_second=20,
        ping_interval=30,
    )
    authentication = Authentication.REQUIRED
    client_messages = MonitorCommand
    server_messages = MonitorEvent

    _overviews: asyncio.Task[None] | None = None

    async def handshake(self) -> None:
        """Let in staff only."""
        if not _is_staff(self.user):
            raise HandshakeRejected(403, "Only staff may look at this.")

    async def connect(self) -> None:
        """Accept, and send overviews from now on."""
        await self.accept()
        self._overviews = asyncio.create_task(self._send_overviews())

    async def disconnect(self, code: int) -> None:
        """Send no more overviews."""
        if self._overviews is not None:
            self._overviews.cancel()

    async def receive_message(self, message: Message) -> None:
        """Do what staff asks for, and say what came of it."""
        if message.is_binary:
            await self.close(CloseCode.UNSUPPORTED_DATA, "binary message on a JSON endpoint")
            return
        try:
            command = _decoder.decode(message.as_str())
        except (msgspec.MsgspecError, RecursionError) as error:
            await self._tell(Refused(detail=str(error)[:300]))
            return
        await self._tell(await in_monitor_thread(_perform)(self.user, command))

    async def _send_overviews(self) -> None:
        while True:
            try:
                still_staff = await in_monitor_thread(_is_still_staff)(self.user)
                if not still_staff:
                    await self.close(CloseCode.FORBIDDEN, "no longer staff")
                    return
                await self._tell(await in_monitor_thread(overview)())
            except DatabaseError:
                logger.exception("the overview could not be read")
                await self._tell(Refused(detail="The database does not answer."))
            await asyncio.sleep(INTERVAL)

    async def _tell(self, event: MonitorEvent) -> None:
        await self.send(text_data=_encoder.encode(event).decode())


def _is_staff(user: Any) -> bool:
    return bool(user.is_active and getattr(user, "is_staff", False))


def _is_still_staff(user: Any) -> bool:
    known = type(user)._default_manager.filter(pk=user.pk).first()
    return known is not None and _is_staff(known)


def _perform(user: Any, command: MonitorCommand) -> Done | Refused:
    """Do what a user asks for, with the permissions that the user has now. Synchronous."""
    user = type(user)._default_manager.get(pk=user.pk)
    match command:
        case Disconnect(channel):
            if not user.has_perm("connections.delete_liveconnection"):
                return Refused(detail="You may not end connections.")
            disconnect_channel(channel, "disconnected by staff")
            return Done(detail="Disconnected.")
        case Announce(slug, content):
            return announce(user, slug, content)
