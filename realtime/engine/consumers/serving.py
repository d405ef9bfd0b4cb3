"""Runs a consumer in one task for each connection, from ``websocket.connect`` to its end.

Channels' dispatch loop costs a hop to a thread and two tasks for each client message. Here the connection's task reads
client messages itself. Channel-layer messages come from the mailbox, and take turns with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer

from realtime.engine.consumers.mailbox import ConsumerMailbox
from realtime.engine.handshake.denial import deny
from realtime.engine.monitoring.counters import HANDLER_SECONDS, UNROUTED
from realtime.engine.protocol.close import CloseCode
from realtime.engine.protocol.errors import HandshakeRejected
from realtime.engine.protocol.messages import SharedMessage
from realtime.engine.protocol.policy import SocketPolicy
from realtime.engine.services.clock import CLOCK, Clock

logger = logging.getLogger("realtime.consumers")

#: Name of the ASGI extension with which the server offers to enforce a policy (docs/policies.md).
POLICY_EXTENSION = "websocket.policy"

#: Tasks that run beside the handlers of a connection. The event loop itself holds tasks only weakly.
_background: set[asyncio.Task[None]] = set()

#: Of each connection the first message is timed, and then every sixteenth: to time all would cost 4% of an echo.
MESSAGES_BETWEEN_TIMINGS = 15


class ServedConsumer(AsyncWebsocketConsumer):
    """A Channels consumer with its own dispatch loop: the base of ``PolicyConsumer``, which endpoints derive from."""

    policy: ClassVar[SocketPolicy] = SocketPolicy()
    close_reason: str = ""
    channel_name: str = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connecting = self._accepted = False
        self._close_code = int(CloseCode.ABNORMAL)
        self._failure: BaseException | None = None
        self._is_ending = False
        #: One handler at a time: client messages and channel-layer messages take turns.
        self._turn = asyncio.Lock()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Run the connection from ``websocket.connect`` to its end (ASGI WebSocket specification)."""
        self._start(scope, send)
        try:
            await self._subscribe()
            await self._serve(receive)
        except StopConsumer:
            pass
        except asyncio.CancelledError:
            # Either the server gives up on this application, or a channel-layer handler failed.
            if self._failure is None:
                raise
            self._task.uncancel()
        except Exception as error:  # noqa: BLE001  raised again once the client knows and disconnect() has run
            self._failure = error
        finally:
            await self._finish()

    def _start(self, scope: dict[str, Any], send: Any) -> None:
        self.scope = scope
        self.base_send = send
        #: The connection's time: rates, timeouts and the expiry follow it. That of a test stands until it is moved.
        self.clock: Clock = scope.get("clock", CLOCK)
        extension = scope.get("extensions", {}).get(POLICY_EXTENSION, {})
        #: None on a server that does not enforce policies.
        self._write: Callable[[SharedMessage], None] | None = extension.get("send_nowait")
        if self._write is None:
            _warn_once(type(self).__qualname__, self.policy.ping_interval)
        self._task: asyncio.Task[None] = asyncio.current_task()  # type: ignore[assignment]
        trace = scope.get("trace")
        dispatch = self.dispatch if trace is None else trace.mail(self.dispatch)
        self._mailbox = ConsumerMailbox(dispatch, self._turn, self._mailbox_failed)

    async def _serve(self, receive: Any) -> None:
        turn, clock, untimed = self._turn, time.perf_counter, 0
        # Chosen once: what runs for each message is the plain handler, or the one within a span.
        handle_event, handle_message = self.dispatch, self.websocket_receive
        if (trace := self.scope.get("trace")) is not None:
            handle_event, handle_message = trace.events(handle_event), trace.messages(handle_message)
        observe = HANDLER_SECONDS[self.scope.get("endpoint", UNROUTED)].observe
        while True:
            event = await receive()
            kind = event["type"]
            if kind == "websocket.receive":
                async with turn:
                    if untimed:
                        untimed -= 1
                        await handle_message(event)
                    else:
                        untimed = MESSAGES_BETWEEN_TIMINGS
                        start = clock()
                        await handle_message(event)
                        observe(clock() - start)
            elif kind == "websocket.disconnect":
                await self.websocket_disconnect(event)
            else:
                async with turn:
                    await handle_event(event)

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Call the handler of an event or a channel-layer message by its type; raise ``ValueError`` without one."""
        name = get_handler_name(message)
        handler = getattr(self, name, None)
        if handler is None:
            raise ValueError(
                f"{type(self).__name__} has no handler for {message['type']!r}: define 'async def {name}(self, event)'"
            )
        await handler(message)

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        """End the application; ``disconnect()`` runs on the way out, however the connection ended."""
        self._close_code = message.get("code", CloseCode.ABNORMAL)
        self.close_reason = message.get("reason") or ""
        raise StopConsumer

    async def websocket_send(self, message: dict[str, Any]) -> None:
        """Send a group's ``websocket.send`` message that came by the mailbox."""
        if message.get("exclude") != self.channel_name:
            await self.base_send(SharedMessage.from_event(message).as_event())

    async def _subscribe(self) -> None:
        self.channel_layer = layer = get_channel_layer(self.channel_layer_alias)
        if layer is not None:
            self.channel_name = await layer.new_channel()
            self._mailbox.subscribe(layer, self.channel_name, resynchronise=hasattr(self, "layer_resynchronise"))

    async def release_connection(self) -> None:
        """Release what a base class of endpoints keeps for a connection: the last step, after ``disconnect()``."""

    def _ended(self) -> None:
        """Release what a subclass keeps for the connection."""

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside the handlers, and keep it alive."""
        task = asyncio.create_task(work)
        _background.add(task)
        task.add_done_callback(_background.discard)

    def _mailbox_failed(self, error: BaseException) -> None:
        """Raise the error of a channel-layer handler in the connection's own task, unless the connection is ending."""
        if not self._is_ending:
            self._failure = error
            self._task.cancel()
        elif not isinstance(error, StopConsumer):
            logger.error("a handler of %s failed while its connection ended", type(self).__name__, exc_info=error)

    async def _finish(self) -> None:
        """Run every step of the end, the last one first, even if another one raises or is cancelled.

        As in Channels, an error of the consumer reaches the middleware, and the server logs it.
        """
        self._is_ending = True
        async with contextlib.AsyncExitStack() as steps:
            if self._connecting:
                steps.push_async_callback(self.release_connection)
                steps.push_async_callback(self._disconnect)
                for group in self.groups if self.channel_layer is not None else ():
                    steps.push_async_callback(self.channel_layer.group_discard, group, self.channel_name)
            steps.callback(self._ended)
            steps.push_async_callback(self._mailbox.close)
            if self._failure is not None and not isinstance(self._failure, StopConsumer):
                await self._report_failure()
                raise self._failure

    async def _report_failure(self) -> None:
        """Close with 1011 or answer with 500, before ``disconnect()`` runs.

        Daphne's own protocol and ``WebsocketCommunicator`` announce no denial responses. They handle a failed
        application themselves, and a test expects its exception instead of a message.
        """
        self._close_code = int(CloseCode.INTERNAL_ERROR)
        if "websocket.http.response" not in self.scope.get("extensions", ()):
            return
        if self._accepted:
            await self.close(CloseCode.INTERNAL_ERROR, "internal error")
        else:
            failed = HandshakeRejected(500, "The endpoint failed; see the server's log.")
            await deny(self.scope, self.base_send, failed)

    async def _disconnect(self) -> None:
        with contextlib.suppress(StopConsumer):
            await self.disconnect(self._close_code)


@functools.cache
def _warn_once(consumer_name: str, ping_interval: float | None) -> None:
    logger.warning(
        "this server does not announce the %s extension: of %s's policy only subprotocol, origin, "
        "message size and rate are enforced, by the consumer, once a message has arrived%s",
        POLICY_EXTENSION,
        consumer_name,
        "" if ping_interval is None else "; no pings are sent",
    )
