"""A connection to a consumer in the test's own event loop: the server's side of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

from realtime.engine.protocol.messages import SharedMessage
from realtime.engine.testing.client import TIMEOUT, Closed, Refused
from realtime.engine.testing.clock import ManualClock

__all__ = ["InProcessTransport"]


class InProcessTransport:
    """Hands a consumer the events of one connection, and keeps what it sends.

    Args:
        application: the consumer.
        scope: what its handshake has beside what every one has.

    Attributes:
        subprotocol: what the consumer has selected.
        clock: the connection's time.
    """

    def __init__(self, application: Any, **scope: Any) -> None:
        self.subprotocol: str | None = None
        self.clock = ManualClock()
        self._policy = application.policy
        self._given: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._taken = asyncio.Event()
        self._end: Closed | None = None
        self._has_failed = False
        scope = {
            "type": "websocket",
            "scheme": "ws",
            "client": ("127.0.0.1", 50000),
            "server": ("testserver", 80),
            "extensions": {"websocket.http.response": {}, "websocket.policy": {"send_nowait": self._send_nowait}},
            "clock": self.clock,
            **scope,
        }
        self._task = asyncio.create_task(application(scope, self._receive, self._send))
        self._task.add_done_callback(self._ended)

    async def open(self) -> None:
        """Make the handshake; raise ``Refused`` if it is refused."""
        self._give("websocket.connect")
        event = await self._next()
        match event:
            case {"type": "websocket.accept"}:
                self.subprotocol = event.get("subprotocol")
            case {"type": "websocket.http.response.start", "status": status, "headers": headers}:
                body = (await self._next())["body"]
                raise Refused(status, json.loads(body), {name.decode(): value.decode() for name, value in headers})
            case {"type": "websocket.close"}:
                raise Refused(403, {"detail": event.get("reason", "")}, {})
            case _:
                raise AssertionError(f"the consumer neither accepted nor refused the handshake: {event}")

    async def send(self, message: str | bytes) -> None:
        """Send a text or binary message; one over the policy's size is closed with 1009."""
        if self._policy.is_too_big(message):  # which the server sees before the consumer does
            self._sent.put_nowait({"type": "websocket.close", "code": 1009, "reason": "message too big"})
            self._give("websocket.disconnect", code=1009)
            return
        kind = "text" if isinstance(message, str) else "bytes"
        self._give("websocket.receive", **{kind: message})

    async def receive(self) -> str | bytes:
        """Return the next message; raise what the consumer has raised, or ``ConnectionClosed`` for another end."""
        event = await self._next()
        if event["type"] == "websocket.send":
            text: str | None = event.get("text")
            return event["bytes"] if text is None else text
        end = self._note_end(event)
        if end.code == 1011:
            await self._finish()  # raises what the consumer has raised
        raise (ConnectionClosedOK if end.code == 1000 else ConnectionClosedError)(end, None)

    async def closed(self) -> Closed:
        """Wait for the consumer to close the connection; an exception of the consumer is not raised any more."""
        while self._end is None:
            event = await self._next()
            if event["type"] != "websocket.send":
                self._note_end(event)
                self._has_failed = True  # the test knows: the consumer's error is not raised again
        assert self._end is not None
        return self._end

    async def close(self) -> None:
        """Disconnect, and wait for the consumer; raise what it has raised."""
        if not self._task.done():
            self._give("websocket.disconnect", code=1000, reason="")
        await self._finish()

    async def settle(self) -> None:
        """Wait until the consumer has taken every message."""
        async with asyncio.timeout(TIMEOUT):
            await self._taken.wait()

    async def _finish(self) -> None:
        async with asyncio.timeout(TIMEOUT):
            await asyncio.wait([self._task])
        error = self._task.exception()
        if error is not None and not self._has_failed:
            self._has_failed = True
            raise error

    async def _next(self) -> dict[str, Any]:
        async with asyncio.timeout(TIMEOUT):
            event = await self._sent.get()
        if event["type"] == "application.ended":
            self._sent.put_nowait(event)  # for whatever waits next
            await self._finish()
        return event

    def _note_end(self, event: dict[str, Any]) -> Closed:
        if self._end is None:
            self._end = Closed(event.get("code", 1006), event.get("reason") or "")
        return self._end

    def _give(self, kind: str, **fields: Any) -> None:
        self._taken.clear()
        self._given.put_nowait({"type": kind, **fields})

    async def _receive(self) -> dict[str, Any]:
        event = await self._given.get()
        if self._given.empty():
            self._taken.set()  # seen by the test when the consumer waits for something
        return event

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._taken.set()
        self._sent.put_nowait({"type": "application.ended"})

    async def _send(self, event: dict[str, Any]) -> None:
        if event["type"] != "websocket.ping":
            self._sent.put_nowait(event)

    def _send_nowait(self, message: SharedMessage) -> None:
        self._sent.put_nowait(message.as_event())
