"""``/ws/rooms`` and ``/ws/rooms/<room>``: rooms in tagged JSON. What it does: realtime/rooms/session.py."""

from __future__ import annotations

from realtime.engine import KIB, MIB, CloseCode, Message, PolicyConsumer, SocketPolicy
from realtime.rooms.fanout.hub import current_hub
from realtime.rooms.protocol import ClientMessage, ServerMessage
from realtime.rooms.session import Session

__all__ = ["RoomsConsumer"]


class RoomsConsumer(PolicyConsumer):
    """Lets a client join rooms, talk there, and come back without missing anything."""

    policy = SocketPolicy(
        # Far more than any message may hold: what is too long or nested too deeply is answered, not cut off.
        max_message_size=2 * MIB,
        max_frame_size=2 * MIB,
        write_buffer_size=64 * KIB,
        # A reader that is a thousand long messages behind comes back with "since" and reads the rest from the database.
        max_write_buffer_size=4 * MIB,
        ping_interval=30,
        ping_timeout=20,
    )
    authentication = "optional"
    client_messages = ClientMessage
    server_messages = ServerMessage

    _session: Session | None = None

    async def connect(self) -> None:
        """Accept, and join the room that the address names."""
        await self.accept()
        self._session = Session(self, current_hub(), self.user, address=self.client_network, identified=self.sign_in)
        room = self.scope["url_route"]["kwargs"].get("room")
        if room is not None:
            await self._session.join_at_once(room)

    async def receive_message(self, message: Message) -> None:
        """Hand a JSON message to the session."""
        if message.is_binary:
            await self.close(CloseCode.UNSUPPORTED_DATA, "binary message on a JSON endpoint")
        elif self._session is not None:
            await self._session.receive(message.as_str())

    async def access_changed(self) -> None:
        """Leave the rooms that the user may no longer be in."""
        if self._session is not None:
            await self._session.access_changed(self.user)

    async def disconnect(self, code: int) -> None:
        """Leave every room."""
        if self._session is not None:
            await self._session.close()
