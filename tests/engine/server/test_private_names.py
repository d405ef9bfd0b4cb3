"""The names of other packages that the code uses although they are private: each is listed here and tried.

A new release of such a package may rename any of them: then the test of that name fails.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import pytest
from daphne.cli import CommandLineInterface
from daphne.http_protocol import WebRequest
from daphne.server import Server
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.cache.backends.redis import RedisCache
from django.urls import get_resolver, path
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request, _GenericHTTPChannelProtocol

from realtime.engine.server.daphne.factory import WireHTTPFactory
from realtime.engine.testing import PROJECT_ROOT

PACKAGES = ("project", "realtime")

#: Attributes of this project's own classes and querysets that modules of the same subject share.
OWN = {"_host", "_online", "_pid", "_start"}


def open_channel(channel: HTTPChannel) -> HTTPChannel:
    channel.callLater = Clock().callLater
    channel.makeConnection(StringTransport())
    return channel


class Noticing(HTTPChannel):
    is_bad = False

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.is_bad = True


def buffer_of_a_transport() -> bool:
    descriptor = FileDescriptor(Clock())
    descriptor.connected = True
    descriptor.startWriting = lambda: None
    before = list(descriptor._tempDataBuffer)
    descriptor.write(b"x")
    return (before, descriptor._tempDataBuffer) == ([], [b"x"])


def producer_of_a_channel() -> bool:
    channel = open_channel(HTTPChannel())
    return channel._networkProducer is channel.transport


def timer_of_a_channel() -> bool:
    channel = open_channel(HTTPChannel())
    call = channel._abortingCall = channel.callLater(1, channel.forceAbortClient)
    channel.connectionLost(Failure(ConnectionDone()))
    return call.cancelled and channel._abortingCall is None


def request_line_of_a_channel() -> bool:
    channel = open_channel(HTTPChannel())
    channel.dataReceived(b"GET /there HTTP/1.1\r\n")
    return (channel._path, channel._version) == (b"/there", b"HTTP/1.1")


def bad_request() -> bool:
    channel = open_channel(Noticing())
    channel.dataReceived(b"this is no request\r\n")
    return channel.is_bad


def switch_of_protocols() -> bool:
    channel = HTTPChannel()
    _GenericHTTPChannelProtocol(channel).requestFactory = Noticing
    return channel.requestFactory is Noticing


def request_of_daphne() -> WebRequest:
    server = Server(application=None, endpoints=["tcp:0"])
    server.connections = {}
    channel = open_channel(HTTPChannel())
    channel.factory = WireHTTPFactory(server)
    return WebRequest(channel)


def request_whose_connection_is_lost() -> bool:
    request: Request = request_of_daphne()
    before = request._disconnected
    Request.connectionLost(request, Failure(ConnectionDone()))
    return (before, request._disconnected) == (False, True)


def response_that_has_begun() -> bool:
    request = request_of_daphne()
    before = request._response_started
    request.clientproto, request.method = b"HTTP/1.1", b"GET"
    request.handle_reply({"type": "http.response.start", "status": 200, "headers": []})
    return (before, request._response_started) == (False, True)


def end_of_the_threads() -> bool:
    code = "import threading; threading._register_atexit(print, 'ran')"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "ran\n"


def arguments_of_daphne() -> bool:
    parser: argparse.ArgumentParser = CommandLineInterface().parser
    return [action.nargs for action in parser._actions if action.dest == "application"] == [None]


def new_password() -> bool:
    user = get_user_model()()
    before = user._password
    user.set_password("secret")
    return (before, user._password) == (None, "secret")


def client_of_a_cache() -> bool:
    cache = RedisCache("redis://127.0.0.1", {})
    return isinstance(cache._cache, cache._class)


class Pair(NamedTuple):
    first: int
    second: int


TRIED: dict[str, Callable[[], bool]] = {
    # Twisted
    "_GenericHTTPChannelProtocol": switch_of_protocols,
    "_abortingCall": timer_of_a_channel,
    "_disconnected": request_whose_connection_is_lost,
    "_networkProducer": producer_of_a_channel,
    "_path": request_line_of_a_channel,
    "_respondToBadRequestAndDisconnect": bad_request,
    "_tempDataBuffer": buffer_of_a_transport,
    "_version": request_line_of_a_channel,
    # Daphne
    "_response_started": response_that_has_begun,
    # Python
    "_actions": arguments_of_daphne,
    "_exit": lambda: subprocess.run([sys.executable, "-c", "import os; os._exit(3)"]).returncode == 3,  # documented
    "_register_atexit": end_of_the_threads,
    "_replace": lambda: Pair(1, 2)._replace(first=3) == (3, 2),  # documented
    # Django; _default_manager, _meta and _state are documented
    "_cache": client_of_a_cache,
    "_class": client_of_a_cache,
    "_default_manager": lambda: get_user_model()._default_manager is get_user_model().objects,
    "_meta": lambda: get_user_model()._meta.get_field("password").name == "password",
    "_password": new_password,
    "_route": lambda: path("ws/<name>", lambda: None).pattern._route == "ws/<name>",
    "_state": lambda: get_user_model()()._state.adding is True,
}


@pytest.mark.parametrize("name", TRIED)
def test_private_name_means_what_the_code_takes_it_for(name: str) -> None:
    assert TRIED[name]()


def test_every_private_name_that_the_code_uses_is_tried() -> None:
    used = {**dict(written_out()), **dict(inherited())}
    assert {name: used[name] for name in sorted(used.keys() - TRIED.keys() - OWN)} == {}
    assert TRIED.keys() - used.keys() == set()


def is_private(name: Any) -> bool:
    """Return whether a name is private: ``_name``, but not ``__name__``, and not ``_name_``, as enum documents some."""
    is_name = isinstance(name, str) and name.isidentifier()
    return is_name and name.startswith("_") and not name.startswith("__") and not name.endswith("_")


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for file in sorted((PROJECT_ROOT / package).rglob("*.py")):
            yield ".".join(file.relative_to(PROJECT_ROOT).with_suffix("").parts), file


def written_out() -> Iterator[tuple[str, str]]:
    """Yield each private name of an object that is not ``self``, and where it stands."""
    for module, file in modules():
        tree = ast.parse(file.read_text())
        ours = {"self", "cls", *(node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef))}
        for node in ast.walk(tree):
            for name in names_of(node, ours):
                yield name, f"{module}:{node.lineno}"  # type: ignore[attr-defined]


def names_of(node: ast.AST, ours: set[str]) -> list[str]:
    match node:
        case ast.Attribute(value=ast.Name(id=owner)) if owner in ours:
            names: list[Any] = []
        case ast.Attribute(attr=name):
            names = [name]
        case ast.ImportFrom(module=str(module), names=aliases) if module.partition(".")[0] not in PACKAGES:
            names = [alias.name for alias in aliases]
        case ast.Call(func=ast.Name(id="getattr" | "hasattr" | "setattr"), args=[_, ast.Constant(value=name), *_]):
            names = [name]
        case _:
            names = []
    return [name for name in names if is_private(name)]


def inherited() -> Iterator[tuple[str, str]]:
    """Yield each private name that a class of this project shares with a base class of another package."""
    get_resolver().url_patterns  # noqa: B018  loads what Django REST framework wants to be first
    installed = {config.path for config in apps.get_app_configs()}
    for name, file in modules():
        if "migrations" in name or name in ("project.asgi", "project.__main__"):
            continue
        if (file.parent / "models.py").exists() and str(file.parent) not in installed:
            continue  # another app has the user model
        for value in vars(importlib.import_module(name.removesuffix(".__init__"))).values():
            if isinstance(value, type) and value.__module__ == name.removesuffix(".__init__"):
                foreign = {found for base in value.__mro__ if not is_ours(base) for found in mentioned(base)}
                yield from ((found, value.__qualname__) for found in foreign & set(mentioned(value)))


def is_ours(base: type) -> bool:
    return base.__module__.partition(".")[0] in PACKAGES


def mentioned(owner: type) -> Iterator[str]:
    """Yield the private names that a class defines as functions, or that its functions mention."""
    for name, value in vars(owner).items():
        function = inspect.unwrap(getattr(value, "__func__", None) or getattr(value, "fget", None) or value)
        code = getattr(function, "__code__", None)
        # Metaclasses such as those of enum and typing put functions of their own into a class.
        if isinstance(code, CodeType) and function.__module__ == owner.__module__:
            yield from filter(is_private, (name, *names_in(code)))


def names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)
