"""``/ws/admin/live``: what the live page of the admin shows, for staff."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
from django.db import DatabaseError

from realtime.console import monitor
from realtime.console.monitor import Announce, Disconnect, Done, MonitorCommand, MonitorEvent, Refused
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

logger = logging.getLogger("realtime.live")

#: Seconds between two overviews.
INTERVAL = 1.0

_decoder: msgspec.json.Decoder[MonitorCommand] = msgspec.json.Decoder(MonitorCommand)
_encoder = msgspec.json.Encoder()


class MonitorConsumer(PolicyConsumer):
    """Shows staff every second what is connected, and ends connections or announces something for them."""

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
        """Let in staff who may view connections; decided anew when the user's rights change."""
        user: Any = self.user
        if not (getattr(user, "is_staff", False) and await in_monitor_thread(user.has_perm)(monitor.VIEW_PERMISSION)):
            raise HandshakeRejected(403, "Only staff who may view live connections may look at this.")

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
            await self._send_event(Refused(str(error)[:300]))
            return
        await self._send_event(await in_monitor_thread(_perform)(self.user, command))

    async def _send_overviews(self) -> None:
        while True:
            try:
                await self._send_event(await in_monitor_thread(monitor.overview)())
            except DatabaseError:
                logger.exception("the overview could not be read")
                await self._send_event(Refused("The database does not answer."))
            await asyncio.sleep(INTERVAL)

    async def _send_event(self, event: MonitorEvent) -> None:
        await self.send(text_data=_encoder.encode(event).decode())


def _perform(user: Any, command: MonitorCommand) -> Done | Refused:
    """Do what a user asks for, with the permissions that the user has now. Synchronous."""
    user = type(user)._default_manager.get(pk=user.pk)
    match command:
        case Disconnect(channel):
            if not user.has_perm("connections.delete_liveconnection"):
                return Refused("You may not end connections.")
            disconnect_channel(channel, "disconnected by staff")
            return Done("Disconnected.")
        case Announce(slug, content):
            return monitor.announce(user, slug, content)
