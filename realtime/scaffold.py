"""The files of a new endpoint, as the page shows them and ``manage.py startendpoint`` writes them."""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

__all__ = ["Snippet", "consumer_source", "route_source"]

_CONSUMER = Template('''\
"""``/ws/$path``: every text message comes back in upper case."""

from __future__ import annotations

from realtime.consumers import PolicyConsumer
from realtime.messages import Message
from realtime.policy import SocketPolicy

__all__ = ["$class_name"]


class $class_name(PolicyConsumer):
    """Answers text in upper case, and sends binary messages back as they are."""

    policy = SocketPolicy(
        max_message_size=64 * 1024,
        max_messages_per_second=50,
    )

    async def receive_message(self, message: Message) -> None:
        """Answer one message."""
        if message.is_text:
            message = Message.text(message.as_str().upper())
        await self.send_message(message)
''')

_ROUTE = Template('path("ws/$path", $class_name.as_asgi(), name="ws-$path"),\n')


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of source and the file it belongs in.

    Args:
        file: path relative to the project.
        text: the source.
    """

    file: str
    text: str


def consumer_source(name: str) -> Snippet:
    """Return the file of a new endpoint.

    Args:
        name: its name as a Python identifier in lower case, for instance ``shout``.
    """
    return Snippet(f"realtime/endpoints/{name}.py", _CONSUMER.substitute(_words(name)))


def route_source(name: str) -> Snippet:
    """Return the line of ``websocket_urlpatterns`` that leads to the endpoint ``name``."""
    return Snippet("realtime/routing.py", _ROUTE.substitute(_words(name)))


def _words(name: str) -> dict[str, str]:
    parts = name.split("_")
    return {
        "class_name": "".join(part.capitalize() for part in parts) + "Consumer",
        "path": "-".join(parts),
    }
