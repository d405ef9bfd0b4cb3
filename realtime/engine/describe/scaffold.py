"""The files of a new endpoint, as the page shows them and ``manage.py startendpoint`` writes them.

The sources are templates of Django: ``templates/realtime/endpoint/`` of the engine, or of the project.
"""

from __future__ import annotations

import keyword
import re
from typing import NamedTuple

from django.template.loader import render_to_string

__all__ = ["Snippet", "add_route", "check_name", "consumer_source", "route_source", "tests_source"]

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

#: The imports and the list in realtime/routing.py.
_IMPORTS = re.compile(r"^from realtime\.endpoints\..*\n", re.MULTILINE)
_ROUTES = re.compile(r"^websocket_urlpatterns = \[\n(?:.*\n)*?(?=^\]$)", re.MULTILINE)


class Snippet(NamedTuple):
    """A piece of source, and the path of the file it belongs in, relative to the project."""

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
    return Snippet(f"realtime/endpoints/{name}.py", render_to_string("realtime/endpoint/consumer.txt", _words(name)))


def tests_source(name: str) -> Snippet:
    """Return the tests of the endpoint ``name``."""
    return Snippet(f"tests/test_{name}.py", render_to_string("realtime/endpoint/tests.txt", _words(name)))


def route_source(name: str) -> Snippet:
    """Return the line of ``websocket_urlpatterns`` that leads to the endpoint ``name``."""
    path, class_name = _words(name)["path"], _words(name)["class_name"]
    return Snippet("realtime/routing.py", f'path("ws/{path}", {class_name}.as_asgi(), name="ws-{path}"),\n')


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
    routing = routing[: routes.end()] + "    " + route_source(name).text + routing[routes.end() :]
    # The import stands among those of the other endpoints, in the order of the alphabet.
    line = f"from realtime.endpoints.{name} import {words['class_name']}\n"
    imports = list(_IMPORTS.finditer(routing))
    later = [place.start() for place in imports if line < place[0]]
    start = later[0] if later else imports[-1].end() if imports else routing.index("from django.urls")
    return routing[:start] + line + routing[start:]


def _words(name: str) -> dict[str, str]:
    class_name = "".join(part.capitalize() for part in name.split("_")) + "Consumer"
    return {"class_name": class_name, "module": name, "path": name.replace("_", "-")}
