"""``/ws/chat``: what one client writes, every other client reads, in every process."""

from __future__ import annotations

from realtime.engine import KIB, MIB, PolicyConsumer, SocketPolicy

__all__ = ["ChatConsumer"]

#: The channel-layer group of every connection.
GROUP = "chat"

#: The counter of users, which all processes share.
USERS = "chat.users"


class ChatConsumer(PolicyConsumer):
    """Sends a text message to every other client, as ``<User#N>: text``."""

    policy = SocketPolicy(
        max_message_size=64 * KIB,
        max_frame_size=64 * KIB,
        max_write_buffer_size=1 * MIB,
        max_messages_per_second=200,
    )

    async def connect(self) -> None:
        """Number the client and let it in; joined first, so that nothing is missed after the handshake."""
        self.number = await self.channel_layer.next_number(USERS)
        await self.join(GROUP)
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Pass a text on; binary messages are ignored."""
        if text_data is not None:
            await self.broadcast(GROUP, text=f"<User#{self.number}>: {text_data}")
