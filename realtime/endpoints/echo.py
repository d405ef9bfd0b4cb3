"""``/ws``: every message comes back unchanged."""

from __future__ import annotations

from realtime.engine import KIB, MIB, PolicyConsumer, SocketPolicy

__all__ = ["EchoConsumer"]


class EchoConsumer(PolicyConsumer):
    """Sends every text or binary message back, unchanged and of the same kind."""

    policy = SocketPolicy(
        max_message_size=16 * MIB,
        max_frame_size=16 * MIB,
        max_write_buffer_size=1 * MIB,
        write_buffer_size=64 * KIB,
    )

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send the message back."""
        await self.send(text_data, bytes_data)
