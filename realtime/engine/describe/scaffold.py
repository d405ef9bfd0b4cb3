"""The files of a new endpoint, as the page shows them and ``manage.py startendpoint`` writes them."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from string import Template

__all__ = ["Snippet", "add_route", "check_name", "consumer_source", "route_source", "tests_source"]

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

_CONSUMER = Template('''\
"""``/ws/$path``: every text message comes back in upper case."""

from __future__ import annotations

from realtime.engine import Message, PolicyConsumer, SocketPolicy

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

_TESTS = Template('''\
"""``/ws/$path`` on a real server."""

from __future__ import annotations

from realtime.endpoints.$module import $class_name


async def test_text_comes_back_in_upper_case(socket):
    client = await socket("/ws/$path")
    await client.send("hello")
    assert await client.receive() == "HELLO"


async def test_binary_comes_back_as_it_is(socket):
    client = await socket("/ws/$path")
    await client.send(b"hello")
    assert await client.receive() == b"hello"


async def test_a_message_over_the_limit_is_closed_with_1009(socket):
    client = await socket("/ws/$path")
    await client.send("x" * ($class_name.policy.max_message_size + 1))
    assert (await client.closed()).code == 1009
''')

_ROUTE = Template('path("ws/$path", $class_name.as_asgi(), name="ws-$path"),\n')
_IMPORT = Template("from realtime.endpoints.$module import $class_name\n")

#: The imports and the last line of the list in realtime/routing.py.
_IMPORTS = re.compile(r"^from realtime\.endpoints\..*\n", re.MULTILINE)
_ROUTES = re.compile(r"^websocket_urlpatterns = \[\n(?:.*\n)*?(?=^\]$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of source and the file it belongs in.

    Args:
        file: path relative to the project.
        text: the source.
    """

    file: str
    text: str


def check_name(name: str) -> str:
    """Return the name of a new endpoint.

    Args:
        name: a Python identifier in lower case, for instance ``stock_ticker``.

    Raises:
        ValueError: for another name.
    """
    if _NAME.fullmatch(name) is None or keyword.iskeyword(name):
        raise ValueError(f"{name!r}: an endpoint's name is words in lower case with '_' between, like stock_ticker")
    return name


def consumer_source(name: str) -> Snippet:
    """Return the file of the endpoint ``name``."""
    return Snippet(f"realtime/endpoints/{name}.py", _CONSUMER.substitute(_words(name)))


def tests_source(name: str) -> Snippet:
    """Return the tests of the endpoint ``name``."""
    return Snippet(f"tests/test_{name}.py", _TESTS.substitute(_words(name)))


def route_source(name: str) -> Snippet:
    """Return the line of ``websocket_urlpatterns`` that leads to the endpoint ``name``."""
    return Snippet("realtime/routing.py", _ROUTE.substitute(_words(name)))


def add_route(routing: str, name: str) -> str:
    """Return the source of ``realtime/routing.py`` with the import and the route of the endpoint ``name`` added.

    Args:
        routing: the source as it is.
        name: name of the endpoint.

    Raises:
        ValueError: if the source has no list of routes as this project writes it, or leads to ``name`` already.
    """
    words = _words(name)
    if f'"ws/{words["path"]}"' in routing:
        raise ValueError(f"realtime/routing.py has a route ws/{words['path']} already")
    routes = _ROUTES.search(routing)
    if routes is None:
        raise ValueError("realtime/routing.py has no line 'websocket_urlpatterns = [' that is closed by a line ']'")
    routing = routing[: routes.end()] + "    " + _ROUTE.substitute(words) + routing[routes.end() :]
    return _add_import(routing, _IMPORT.substitute(words))


def _add_import(source: str, line: str) -> str:
    """Put an import among those of the other endpoints, in the order of the alphabet."""
    places = list(_IMPORTS.finditer(source))
    for place in places:
        if line < place[0]:
            return source[: place.start()] + line + source[place.start() :]
    end = places[-1].end() if places else source.index("from django.urls")
    return source[:end] + line + source[end:]


def _words(name: str) -> dict[str, str]:
    parts = name.split("_")
    return {
        "class_name": "".join(part.capitalize() for part in parts) + "Consumer",
        "module": name,
        "path": "-".join(parts),
    }
