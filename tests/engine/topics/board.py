"""``/ws/board``: notes on boards, and who is looking at them."""

from __future__ import annotations

from msgspec import Struct

from realtime.engine import KIB, MemoryStore, MessageRefused, Position, SocketPolicy, TopicConsumer, on_message
from realtime.engine.topics.messages import TopicMessage

__all__ = ["BoardConsumer"]


class Watch(Struct):
    """Look at a board. ``since`` is how far the client had read when it was here before."""

    board: str
    since: Position | None = None
    colour: str = "grey"


class Note(Struct):
    """Put a note on a board."""

    board: str
    text: str


class BoardConsumer(TopicConsumer):
    """Shows each board to everybody but those whom it is closed to."""

    policy = SocketPolicy(max_message_size=4 * KIB)
    authentication = "optional"
    topic_store = MemoryStore(keep=100)
    server_messages = TopicMessage

    async def authorize_topic(self, topic: str) -> None:
        if topic.startswith("board.staff") and not self.user.is_authenticated:
            raise MessageRefused("forbidden", "Log in to see this board.")

    @on_message
    async def watch(self, message: Watch) -> None:
        await self.topics.subscribe(f"board.{message.board}", since=message.since, presence={"colour": message.colour})

    @on_message
    async def note(self, message: Note) -> None:
        topic = f"board.{message.board}"
        if topic not in self.topics:
            raise MessageRefused("not_subscribed", "Look at the board first.")
        await self.topics.publish(topic, message.text, include_self=True)
