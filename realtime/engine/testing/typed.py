"""Talks in structs to a consumer, without a server or on one.

    async with connect(PollConsumer, user=ann) as socket:
        assert await socket.request(Vote("tea")) == Tally(tea=1)

``connect()`` runs the consumer in the test's own event loop, from its handshake on; ``connect_to()`` opens the same
kind of socket on a running server. Everything that waits has a limit.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, overload
from urllib.parse import urlencode

import msgspec

from realtime.engine.auth.authentication import Authentication
from realtime.engine.auth.sessions import Identity
from realtime.engine.consumers.consumer import PolicyConsumer
from realtime.engine.consumers.typed import MSGPACK_SUBPROTOCOL
from realtime.engine.handshake.router import websocket_urlpatterns
from realtime.engine.protocol.errors import InvalidMessage, MessageRefused
from realtime.engine.testing.client import TIMEOUT, Closed, open_socket
from realtime.engine.testing.clock import ManualClock
from realtime.engine.testing.in_process import InProcessTransport
from realtime.engine.testing.processes import ServerProcess
from realtime.engine.typed.decoder import MessageDecoder
from realtime.engine.typed.formats import JSON, MSGPACK
from realtime.engine.typed.wire import MessageAck, MessageError, tag_of, union_members

__all__ = ["TypedSocket", "connect", "connect_to"]

Message = TypeVar("Message")


class Transport(Protocol):
    """What a ``TypedSocket`` speaks through: a consumer of this process, or a server."""

    @property
    def subprotocol(self) -> str | None:
        """The selected subprotocol."""

    async def send(self, message: str | bytes) -> None:
        """Send a text or binary message."""

    async def receive(self) -> str | bytes:
        """Return the next message; raise ``ConnectionClosed`` if the connection ends instead."""

    async def closed(self) -> Closed:
        """Wait for the server to close the connection; messages on the way are dropped."""

    async def close(self) -> None:
        """Close the connection and wait for its end."""


class TypedSocket:
    """An open connection that speaks structs; ``connect()`` and ``connect_to()`` make it.

    Attributes:
        transport: what is below.
        consumer: the consumer itself; None on a server.
        clock: the connection's time, which stands until ``advance()``; None on a server.
    """

    def __init__(self, transport: Transport, endpoint: type[PolicyConsumer], consumer: Any = None) -> None:
        self.transport = transport
        self.consumer = consumer
        self._in_process = transport if isinstance(transport, InProcessTransport) else None
        self.clock: ManualClock | None = None if self._in_process is None else self._in_process.clock
        self._form = MSGPACK if transport.subprotocol == MSGPACK_SUBPROTOCOL else JSON
        self._known = MessageDecoder(_server_messages(endpoint), self._form)
        self._refs = (f"r{number}" for number in itertools.count(1))
        self._kept: collections.deque[str | bytes] = collections.deque()
        self._reading = asyncio.Lock()

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the server has selected."""
        return self.transport.subprotocol

    async def request(self, message: msgspec.Struct) -> Any:
        """Send a message with a ``ref``, and return what its handler returns: a struct, or None.

        Other messages that arrive meanwhile are kept for ``receive()``.

        Raises:
            MessageRefused: if the answer is an ``Error``; it has its ``code`` and ``detail``.
            ConnectionClosed: if the connection ends instead.
            TimeoutError: if nothing comes.
        """
        ref = next(self._refs)
        await self.transport.send(self._form.encode(message, ref))
        answer = self._read(await self._take(lambda payload: self._known.read_ref(payload) == ref))
        return None if isinstance(answer, MessageAck) else answer

    async def send(self, message: msgspec.Struct | str | bytes) -> None:
        """Send a message without a ``ref``; text or bytes go as they are."""
        if isinstance(message, msgspec.Struct):
            message = self._form.encode(message)
        await self.transport.send(message)

    @overload
    async def receive(self, kind: type[Message]) -> Message: ...
    @overload
    async def receive(self, kind: None = None) -> Any: ...
    async def receive(self, kind: Any = None) -> Any:
        """Return the next message.

        Args:
            kind: the struct type that it has to be; without it, what the endpoint declares is decoded to its struct,
                and everything else to a dict.

        Raises:
            AssertionError: if it is another message than ``kind``.
            MessageRefused: if it is an ``Error``.
            ConnectionClosed: if the connection ends instead.
            TimeoutError: if nothing comes.
        """
        payload = await self._take(lambda _: True)
        return self._read(payload, kind)

    async def closed(self) -> Closed:
        """Wait for the server to close the connection, and return its ``code`` and ``reason``."""
        return await self.transport.closed()

    async def close(self) -> None:
        """Close the connection and wait for its end."""
        await self.transport.close()

    async def advance(self, seconds: float) -> None:
        """Let the consumer take what was sent to it, then move its clock: rates, timeouts and the expiry follow it.

        Raises:
            RuntimeError: on a server, whose time is its own.
        """
        if self._in_process is None:
            raise RuntimeError("the time of a server is its own: use connect() to control it")
        await self._in_process.settle()
        self._in_process.clock.advance(seconds)

    async def _take(self, is_wanted: Callable[[str | bytes], bool]) -> str | bytes:
        async with asyncio.timeout(TIMEOUT), self._reading:
            for payload in self._kept:
                if is_wanted(payload):
                    self._kept.remove(payload)
                    return payload
            while not is_wanted(payload := await self.transport.receive()):
                self._kept.append(payload)
            return payload

    def _read(self, payload: str | bytes, kind: Any = None) -> Any:
        decoder = self._known if kind is None else MessageDecoder([MessageError, kind], self._form)
        try:
            _, message = decoder.decode(payload)
        except InvalidMessage as error:
            if kind is None:
                return msgspec.json.decode(payload) if isinstance(payload, str) else msgspec.msgpack.decode(payload)
            raise AssertionError(f"this is no {tag_of(kind)}: {payload!r} ({error.detail})") from None
        if isinstance(message, MessageError):
            raise MessageRefused(message.code, message.detail, ref=message.ref or None)
        return message


@contextlib.asynccontextmanager
async def connect(
    consumer: type[PolicyConsumer],
    *,
    user: Any = None,
    path: str | None = None,
    query: str | Mapping[str, Any] = "",
    headers: Mapping[str, str] | None = None,
    subprotocols: Sequence[str] = (),
    origin: str | None = None,
) -> AsyncIterator[TypedSocket]:
    """Run a consumer without a server, and yield an open socket to it.

    Every check of its handshake is made, and its policy holds. Groups are those of the settings' channel layer. An
    exception of the consumer is raised by ``receive()``, or at the end.

    Args:
        consumer: the class.
        user: who connects; it needs no token and no row in the database. None: nobody, unless ``headers`` or ``query``
            have a credential.
        path: of the handshake; by default the endpoint's first route without parameters.
        query: the query string, or its parameters.
        headers: further headers of the handshake.
        subprotocols: what to offer, in order of preference.
        origin: the ``Origin`` header.

    Raises:
        Refused: if the handshake is refused, with its status and problem.
        ValueError: for a user of an endpoint whose ``authentication`` is ``"none"``, which looks nobody up.
    """
    endpoint = consumer()
    if user is not None and user.is_authenticated:
        _authenticate(endpoint, user)
    given = {**(headers or {}), **({} if origin is None else {"origin": origin})}
    lines = [(b"host", b"testserver"), *((name.lower().encode(), value.encode()) for name, value in given.items())]
    if subprotocols:
        lines.append((b"sec-websocket-protocol", ", ".join(subprotocols).encode()))
    path = _path_of(consumer) if path is None else path
    application = InProcessTransport(
        endpoint,
        path=path,
        query_string=(query if isinstance(query, str) else urlencode(query)).encode(),
        headers=lines,
        subprotocols=list(subprotocols),
        url_route={"args": (), "kwargs": _parameters(consumer, path)},
    )
    try:
        await application.open()
        yield TypedSocket(application, consumer, endpoint)
    except BaseException:
        with contextlib.suppress(Exception):  # the first error says what happened
            await application.close()
        raise
    await application.close()


@contextlib.asynccontextmanager
async def connect_to(
    server: ServerProcess,
    consumer: type[PolicyConsumer],
    *,
    token: str | None = None,
    path: str | None = None,
    query: str | Mapping[str, Any] = "",
    headers: Mapping[str, str] | None = None,
    subprotocols: Sequence[str] = (),
    origin: str | None = None,
) -> AsyncIterator[TypedSocket]:
    """Open a socket to a consumer on a running server; as ``connect()``, but for ``token``, an access token.

    Raises:
        Refused: if the handshake is refused, with its status and problem.
        OSError: if there is no server.
    """
    text = query if isinstance(query, str) else urlencode(query)
    address = server.ws(_path_of(consumer) if path is None else path) + (f"?{text}" if text else "")
    client = await open_socket(address, token=token, subprotocols=subprotocols, origin=origin, headers=headers)
    async with client:
        yield TypedSocket(client, consumer)


def _authenticate(endpoint: PolicyConsumer, user: Any) -> None:
    """Have the handshake find a user, in place of a credential."""
    if endpoint.authentication == Authentication.NONE:
        name = type(endpoint).__qualname__
        raise ValueError(f"{name} asks for no user: set authentication = 'optional' or 'required' in the class")

    async def identify() -> Identity:
        return Identity(user)

    endpoint.identify = identify  # type: ignore[method-assign]


def _server_messages(consumer: type[PolicyConsumer]) -> list[Any]:
    """Return what an endpoint may send; a struct of its own replaces the engine's of the same tag."""
    stated = consumer.server_messages
    replies = [] if consumer.message_handlers is None else consumer.message_handlers.replies
    return [MessageAck, MessageError, *replies, *(() if stated is None else union_members(stated))]


def _routes_of(consumer: type) -> list[Any]:
    routes = websocket_urlpatterns()
    return [route for route in routes if getattr(route.callback, "consumer_class", None) is consumer]


def _path_of(consumer: type) -> str:
    routes = (getattr(route.pattern, "_route", "<") for route in _routes_of(consumer))
    return f"/{next((route for route in routes if '<' not in route), 'ws')}"


def _parameters(consumer: type, path: str) -> dict[str, Any]:
    matches = (route.pattern.match(path.removeprefix("/")) for route in _routes_of(consumer))
    return next((match[2] for match in matches if match is not None), {})
