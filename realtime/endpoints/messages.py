"""``/ws/messages``: the ``Message`` helpers."""

from __future__ import annotations

from realtime.engine import MIB, Message, PolicyConsumer, SocketPolicy

__all__ = ["MessagesConsumer"]


class MessagesConsumer(PolicyConsumer):
    """Answers text ``x`` with ``echo: x``, and sends binary messages back as they are."""

    policy = SocketPolicy(max_message_size=1 * MIB, max_frame_size=1 * MIB)

    async def receive_message(self, message: Message) -> None:
        """Answer one message."""
        if message.is_text:
            await self.send_message(Message.text(f"echo: {message.as_str()}"))
        else:
            await self.send_message(message)
