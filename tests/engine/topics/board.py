"""``/ws/board``: notes on boards, and who is looking at them."""

from __future__ import annotations

import msgspec

from realtime.engine import KIB, MemoryStore, Message, Position, SocketPolicy, TopicConsumer, TopicRefused

__all__ = ["BoardConsumer"]


class Watch(msgspec.Struct, tag=True):
    """Look at a board. ``since`` is how far the client had read when it was here before."""

    board: str
    since: Position | None = None
    colour: str = "grey"


class Note(msgspec.Struct, tag=True):
    """Put a note on a board."""

    board: str
    text: str


class BoardConsumer(TopicConsumer):
    """Shows each board to everybody but those whom it is closed to."""

    policy = SocketPolicy(max_message_size=4 * KIB)
    authentication = "optional"
    topic_store = MemoryStore(keep=100)

    async def authorize_topic(self, topic: str) -> None:
        """Keep anonymous users out of the boards of the staff."""
        if topic.startswith("board.staff") and not self.user.is_authenticated:
            raise TopicRefused("forbidden", "Log in to see this board.")

    async def receive_message(self, message: Message) -> None:
        """Let the client look at a board, or put its note there."""
        try:
            command = msgspec.json.decode(message.payload, type=Watch | Note)
            topic = f"board.{command.board}"
            if isinstance(command, Watch):
                await self.topics.subscribe(topic, since=command.since, presence={"colour": command.colour})
            elif topic in self.topics:
                await self.topics.publish(topic, command.text, include_self=True)
        except (msgspec.DecodeError, TopicRefused) as refused:
            await self.send_message(Message.text(f"Refused: {refused}"))
