"""The connection below a generated client: it comes back, waits for answers, and resumes topics.

It needs ``websockets`` and ``msgspec``, and nothing of the server's project.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Self, TypeVar
from urllib.parse import urlencode

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from .description import ConnectionLost, Description, RequestRefused, RequestTimeout, State
from .handshake import Getter, address_of, advice_on, ask, problem_of
from .topics import Item, Joined, Subscription, Topics, tag_of

#: Seconds: the first and the largest bound of the random pause before another attempt, and how long an answer may take.
FIRST_PAUSE, LONGEST_PAUSE, REQUEST_TIMEOUT = 0.5, 30.0, 10.0
#: Seconds after which an open connection counts as stable, and the pause starts again from the first bound.
STABLE_AFTER = 5.0

Message = TypeVar("Message", bound=msgspec.Struct)


@dataclass
class Request:
    """A message that waits for its answer."""

    message: Any
    answer: asyncio.Future[Any]
    sent: bool = False


class TypedSocket(Generic[Joined, Item]):
    """A connection that comes back, as the close code advises; an asynchronous context manager.

    Args:
        base: address of the site, ``https://example.com``.
        params: parameters of the path.
        query: parameters of the query.
        token: gets an access token; its argument says whether the last one was refused or has expired.
        ticket: gets a one-time ticket instead.
        timeout: seconds that an answer may take.
        on_state: is called with each ``State``.
        random: from 0 to 1, for tests.

    Raises:
        HandshakeRefused: on entering, where the server refuses for good.
    """

    description: Description

    def __init__(
        self,
        base: str,
        *,
        params: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        token: Getter | None = None,
        ticket: Getter | None = None,
        timeout: float = REQUEST_TIMEOUT,
        on_state: Callable[[State], Any] = lambda state: None,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.state = State("idle")
        self.url = address_of(self.description.paths, base, params or {}, query or {})
        self._token, self._ticket, self._timeout = token, ticket, timeout
        self._on_state, self._random = on_state, random
        self._types = {tag_of(kind): kind for kind in self.description.received}
        self._listeners: dict[type, list[Callable[[Any], Any]]] = {}
        self._requests: dict[str, Request] = {}
        self._topics: Topics[Joined, Item] | None = None
        if self.description.topics is not None:
            self._topics = Topics(self.description.topics, self._send, self._call, self._spawn, random)
        self._connection: ClientConnection | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._settled = asyncio.Event()
        self._problem: Exception | None = None

    async def __aenter__(self) -> Self:
        self._spawn(self._run())
        await self._settled.wait()
        if self.state.phase == "stopped":
            raise self._problem or ConnectionLost(f"{self.state.code}: {self.state.reason}")
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """End the connection for good."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.state.phase != "stopped":
            self._interrupted(_End("stop", 1000, ""))

    def on(self, kind: type[Message], listener: Callable[[Message], Any]) -> Callable[[], None]:
        """Call a listener for each message of a type that answers no request, until the returned function is called."""
        listeners = self._listeners.setdefault(kind, [])
        listeners.append(listener)
        return lambda: listeners.remove(listener)

    async def send(self, message: msgspec.Struct) -> None:
        """Send a message; raises ``ConnectionLost`` without a connection. That it arrives, only an answer can say."""
        if not await self._send(message):
            raise ConnectionLost("There is no connection.")

    async def request(self, message: Any, *, timeout: float | None = None) -> Any:
        """Send a message with a ``ref``, as soon as there is a connection, and return its answer.

        Args:
            message: one that has answers.
            timeout: seconds, with those until there is a connection.

        Raises:
            RequestRefused: when the server answers with an ``Error``.
            RequestTimeout: when no answer comes in time.
            ConnectionLost: when the connection ends before.
        """
        if self.state.phase == "stopped":
            raise ConnectionLost("There is no connection.")
        ref = message.ref or uuid.uuid4().hex
        request = Request(msgspec.structs.replace(message, ref=ref), asyncio.get_running_loop().create_future())
        self._requests[ref] = request
        try:
            async with asyncio.timeout(self._timeout if timeout is None else timeout):
                await self._transmit(request)
                return await request.answer
        except TimeoutError:
            raise RequestTimeout("No answer came in time.") from None
        finally:
            del self._requests[ref]

    async def subscribe(
        self,
        name: str,
        on_message: Callable[[Item], Any],
        *,
        on_joined: Callable[[Joined], Any] = lambda joined: None,
        on_left: Callable[[Any], Any] = lambda error: None,
    ) -> Subscription[Joined, Item]:
        """Enter a topic, and enter it again after each break with the position that was reached.

        Args:
            name: of the topic.
            on_message: gets each message once and in the order of ``seq``.
            on_joined: gets the server's ``Joined``: its ``messages`` are what was missed if ``recovered``, else they
                replace what is known.
            on_left: gets the server's ``Error``, or None, when the topic is over for this client.
        """
        if self._topics is None:
            raise TypeError("this endpoint has no topics")
        return await self._topics.subscribe(Subscription(name, on_message, on_joined, on_left))

    async def unsubscribe(self, name: str) -> None:
        """Leave a topic."""
        if self._topics is not None:
            await self._topics.unsubscribe(name)

    async def _run(self) -> None:
        try:
            await self._stay_connected()
        except Exception as error:  # noqa: BLE001  of ``token``, ``ticket`` or a bug: entering raises it, too
            self._problem = error
            self._interrupted(_End("stop", None, repr(error)))
            self._report("the client has stopped", error)

    async def _stay_connected(self) -> None:
        attempt, renew = 0, False
        while self.state.phase != "stopped":
            self._become(State("connecting"))
            end = await self._converse(renew)
            self._interrupted(end)
            renew = end.advice == "renew" or (renew and end.lasted is None)
            attempt = 0 if end.lasted is not None and end.lasted > STABLE_AFTER else attempt
            if end.advice != "stop":
                await asyncio.sleep(max(end.pause, self._random() * min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt)))
                attempt += 1

    async def _converse(self, renew: bool) -> _End:
        """Connect, and read until the connection ends."""
        try:
            connection = await self._connect(renew)
        except InvalidStatus as error:
            refusal = self._problem = problem_of(error)
            pause = error.response.headers.get("Retry-After", "0")
            advice = advice_on(refusal.status, renew)
            return _End(advice, None, str(refusal), pause=float(pause) if pause.isdigit() else 0.0)
        except (OSError, InvalidHandshake) as error:
            return _End("reconnect", None, str(error))
        began = asyncio.get_running_loop().time()
        try:
            await self._opened(connection)
            async for data in connection:
                await self._received(data)
        except ConnectionClosed:
            pass  # its code says why
        finally:
            self._connection = None
            await connection.close()
        code, reason = connection.close_code, connection.close_reason or ""
        lasted = asyncio.get_running_loop().time() - began
        return _End(self.description.close_codes.get(code or 1006, "reconnect"), code, reason, lasted=lasted)

    async def _connect(self, renew: bool) -> ClientConnection:
        url, headers = self.url, {}
        if self._ticket is not None:
            url += ("&" if "?" in url else "?") + urlencode({"ticket": await ask(self._ticket, renew)})
        elif self._token is not None:
            headers["Authorization"] = f"Bearer {await ask(self._token, renew)}"
        subprotocols = [Subprotocol(name) for name in self.description.subprotocols] or None
        return await connect(url, additional_headers=headers, subprotocols=subprotocols, max_size=None)

    async def _opened(self, connection: ClientConnection) -> None:
        self._connection = connection
        if self._topics is not None:
            await self._topics.opened()
        for request in [*self._requests.values()]:
            await self._transmit(request)
        self._become(State("open"))
        self._settled.set()

    def _interrupted(self, end: _End) -> None:
        if self._topics is not None:
            self._topics.interrupted()
        for request in self._requests.values():
            if (request.sent or end.advice == "stop") and not request.answer.done():
                request.answer.set_exception(ConnectionLost("The connection was interrupted."))
        self._become(State("stopped" if end.advice == "stop" else "waiting", end.code, end.reason))
        if end.advice == "stop":
            self._settled.set()

    def _become(self, state: State) -> None:
        self.state = state
        asyncio.get_running_loop().call_soon(self._on_state, state)

    async def _send(self, message: Any) -> bool:
        if self._connection is None:
            return False
        try:
            await self._connection.send(msgspec.json.encode(message).decode())
        except ConnectionClosed:
            return False
        return True

    async def _transmit(self, request: Request) -> None:
        if not request.sent and self._connection is not None:
            request.sent = True
            await self._send(request.message)

    async def _received(self, data: str | bytes) -> None:
        head = _decode_head(data)
        kind = self._types.get(head.type)
        if kind is None:
            return  # of a newer server
        try:
            message: Any = msgspec.json.decode(data, type=kind)
        except msgspec.MsgspecError as error:
            request = self._requests.get(head.ref or "")
            if request is None:
                self._report(f"a message {head.type!r} of the server is not as the client knows it", error)
            elif not request.answer.done():
                request.answer.set_exception(error)
            return
        is_for_topic = self._topics is not None and await self._topics.received(message)
        request = self._request_of(head.ref, message)
        if request is not None and not request.answer.done():
            if head.type == "Error":
                request.answer.set_exception(RequestRefused(message.code, message.detail))
            else:
                request.answer.set_result(message)
        elif not is_for_topic:
            for listener in self._listeners.get(kind, ()):
                self._call(listener, message)

    def _request_of(self, ref: str | None, message: Any) -> Request | None:
        if ref is not None:
            return self._requests.get(ref)
        if type(message) not in self.description.unreferenced:
            return None
        # Without a ref it answers the oldest request for it that speaks of the same.
        for request in self._requests.values():
            answers = self.description.replies.get(type(request.message), ())
            is_waiting = request.sent and not request.answer.done()
            if is_waiting and type(message) in answers and _agree(request.message, message):
                return request
        return None

    def _report(self, what: str, error: Exception) -> None:
        asyncio.get_running_loop().call_exception_handler({"message": what, "exception": error})

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _call(self, listener: Callable[[Any], Any], argument: Any) -> None:
        # What a listener raises goes to the loop's exception handler, not into the connection.
        asyncio.get_running_loop().call_soon(listener, argument)


class _End(NamedTuple):
    """How a connection, or an attempt at one, has ended."""

    advice: str
    code: int | None
    reason: str
    lasted: float | None = None
    pause: float = 0.0


class _Head(msgspec.Struct):
    type: str
    ref: str | None = None


_decode_head = msgspec.json.Decoder(_Head).decode


def _agree(asked: Any, answer: Any) -> bool:
    common = set(asked.__struct_fields__) & set(answer.__struct_fields__)
    return all(not getattr(asked, name) or getattr(asked, name) == getattr(answer, name) for name in common)
