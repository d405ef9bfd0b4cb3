"""``/ws/chat``: what one client writes, every other client reads, in every process."""

from __future__ import annotations

from django.core.cache import cache

from realtime.consumers import PolicyConsumer
from realtime.policy import KIB, MIB, SocketPolicy

__all__ = ["ChatConsumer"]

#: The channel-layer group of everybody here.
GROUP = "chat"

#: Cache key of the last user number; the cache is shared by all processes when REDIS_URL is set.
USER_COUNTER = "realtime:chat:users"


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
        self.number = await _next_user_number()
        await self.join(GROUP)
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Pass a text on; binary messages are ignored."""
        if text_data is not None:
            await self.broadcast(GROUP, text=f"<User#{self.number}>: {text_data}")


async def _next_user_number() -> int:
    """Return 1, 2, 3 ..., each number once; add() and incr() are atomic in every cache backend."""
    await cache.aadd(USER_COUNTER, 0, timeout=None)
    return await cache.aincr(USER_COUNTER)
