"""A WebSocket client for tests and scripts, which sees what browsers and ``WebsocketCommunicator`` hide.

    async with await open_socket(server.ws("/ws/shout")) as client:
        await client.send("hello")
        assert await client.receive() == "HELLO"

It is the ``websockets`` library behind a few verbs: refusals with status and problem, close codes with their reasons,
pings, empty messages. Everything that waits has a limit, so that a server that stays silent fails the test instead
of hanging it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close as Closed
from websockets.typing import Origin, Subprotocol

__all__ = ["TIMEOUT", "Client", "Closed", "Refused", "open_socket"]

#: Seconds that a server may take for an answer, on a busy machine.
TIMEOUT = 10.0


class Refused(Exception):
    """A handshake was answered with an HTTP error.

    Args:
        status: the HTTP status.
        problem: the JSON body (RFC 9457); empty if the body is something else.
        headers: the response's headers, by their names in upper or lower case.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        super().__init__(f"{status}: {problem.get('detail', 'no problem document')}")
        self.status = status
        self.problem = problem
        self.headers = headers

    @property
    def detail(self) -> str:
        """What was wrong, in the server's words."""
        return str(self.problem.get("detail", ""))


async def open_socket(
    url: str,
    *,
    token: str | None = None,
    subprotocols: Sequence[str] = (),
    origin: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Client:
    """Open a connection.

    Args:
        url: a ``ws://`` or ``wss://`` address.
        token: an access token for ``Authorization: Bearer``.
        subprotocols: what to offer, in order of preference.
        origin: the ``Origin`` header; a client that is no browser sends none.
        headers: further headers.

    Raises:
        Refused: if the server answers with an HTTP error.
        OSError: if there is no server.
        TimeoutError: if it does not answer.
    """
    extra = dict(headers or {})
    if token is not None:
        extra["Authorization"] = f"Bearer {token}"
    try:
        connection = await connect(
            url,
            additional_headers=extra,
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            origin=None if origin is None else Origin(origin),
            max_size=None,
            open_timeout=TIMEOUT,
            ping_interval=None,
            proxy=None,
        )
    except InvalidStatus as error:
        response = error.response
        raise Refused(response.status_code, _problem(response.body or b""), response.headers) from None
    return Client(connection)


class Client:
    """An open connection; ``open_socket()`` makes it.

    Attributes:
        connection: the ``websockets`` connection below, for everything else.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the server has selected."""
        return self.connection.subprotocol

    async def send(self, message: str | bytes) -> None:
        """Send a text or binary message; the empty one too."""
        await asyncio.wait_for(self.connection.send(message), TIMEOUT)

    async def send_json(self, message: Any) -> None:
        """Send a value as JSON text."""
        await self.send(json.dumps(message))

    async def receive(self) -> str | bytes:
        """Return the next message.

        Raises:
            ConnectionClosed: if the connection ends instead.
            TimeoutError: if nothing comes.
        """
        return await asyncio.wait_for(self.connection.recv(), TIMEOUT)

    async def receive_json(self) -> Any:
        """Return the next message, decoded from JSON."""
        return json.loads(await self.receive())

    async def ping(self) -> float:
        """Send a ping, and return the seconds until its pong."""
        return float(await asyncio.wait_for(await self.connection.ping(), TIMEOUT))

    async def closed(self) -> Closed:
        """Wait for the server to close the connection, and return its ``code`` and ``reason``; 1006 if it sent none.

        Messages on the way are dropped.

        Raises:
            TimeoutError: if it does not.
        """
        try:
            async with asyncio.timeout(TIMEOUT):
                while True:
                    await self.connection.recv()
        except ConnectionClosed as error:
            return Closed(1006, "") if error.rcvd is None else error.rcvd

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection and wait for its end."""
        await asyncio.wait_for(self.connection.close(code, reason), TIMEOUT)


def _problem(body: bytes | bytearray) -> Mapping[str, Any]:
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}
