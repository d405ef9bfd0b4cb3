"""Runs the handlers of ``@on_message``: decodes a message, asks and calls its handler, and answers."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from channels.exceptions import StopConsumer

from realtime.engine.consumers.guards import Rate
from realtime.engine.consumers.handlers import Handler, HandlerTable
from realtime.engine.consumers.rates import MessageRate
from realtime.engine.consumers.serving import ServedConsumer
from realtime.engine.protocol.close import CloseCode
from realtime.engine.protocol.errors import DeclarationError, MessageRefused
from realtime.engine.protocol.messages import SharedMessage
from realtime.engine.typed.formats import JSON, MSGPACK
from realtime.engine.typed.wire import MessageAck, MessageError, union_members, wire_type

__all__ = ["MSGPACK_SUBPROTOCOL", "TypedConsumer", "check_handlers", "receive_typed"]

#: The subprotocol with which messages are msgpack in binary; with every other, and with none, JSON in text.
MSGPACK_SUBPROTOCOL = "msgpack"


class TypedConsumer(ServedConsumer):
    """What ``PolicyConsumer`` has for typed messages: handlers, hooks, and sending of structs.

    Attributes:
        server_messages: a union of the structs that the endpoint sends beside its replies, for its description.
        message_handlers: the table of its ``@on_message`` methods; None without any.
        speaks_msgpack: whether messages are msgpack in binary, because that is the subprotocol.
        handler_rates: the rate of each handler that has one, from its first message on.
    """

    server_messages: ClassVar[Any] = None
    message_handlers: ClassVar[HandlerTable | None] = None

    subprotocol: str | None = None

    speaks_msgpack = False
    handler_rates: dict[str, MessageRate] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # The plain way calls no hook, unless one is overridden.
        has_hooks = any(getattr(cls, name) is not getattr(TypedConsumer, name) for name in _HOOKS)
        table = HandlerTable(cls, has_hooks=has_hooks)
        cls.message_handlers = table if table.handlers else None

    # What an endpoint overrides

    async def before_message(self, message: Any) -> None:
        """Called before the handler of each message; raise ``MessageRefused`` to answer with an ``Error`` instead."""

    async def after_message(self, message: Any, reply: Any) -> None:
        """Called when a message has been handled and answered; ``reply`` is what its handler returned."""

    async def on_message_error(self, message: Any, error: Exception) -> None:
        """Called when a message is refused or its handler fails.

        Raise ``MessageRefused`` to answer with another ``Error``. When this returns, ``error`` takes its way: a
        refusal is answered, every other exception closes the connection with 1011.

        Args:
            message: the struct; None for what could not be decoded.
            error: ``MessageRefused`` (of which ``InvalidMessage`` is one), or what the handler has raised.
        """

    # What an endpoint calls

    async def send_typed(self, message: msgspec.Struct) -> None:
        """Send a struct to this connection, and wait while the peer does not read."""
        await _send(self, message)

    async def broadcast_typed(self, group: str, message: msgspec.Struct, *, include_self: bool = False) -> None:
        """Send a struct to every connection in a group, in every process; it is encoded once for all of them.

        Args:
            group: name of the channel-layer group.
            message: the struct.
            include_self: send it to this connection too.
        """
        event = self.typed_event(message)
        if not include_self:
            event["exclude"] = self.channel_name
        await self.channel_layer.group_send(group, event)

    @classmethod
    def typed_event(cls, message: msgspec.Struct) -> dict[str, Any]:
        """Return the channel-layer message that sends a struct to connections of this endpoint.

        From a view, a signal or a task: ``group_send("poll", PollConsumer.typed_event(Closed()))``.
        """
        event: dict[str, Any] = {"type": "websocket.send", "text": JSON.encode(message)}
        policy = cls.policy
        if MSGPACK_SUBPROTOCOL in policy.subprotocols or policy.accept_any_subprotocol:
            event["msgpack"] = MSGPACK.encode(message)
        return event

    # Channels' API

    async def websocket_send(self, message: dict[str, Any]) -> None:
        """Send a group's ``websocket.send`` message that came by the mailbox, in the form that is spoken here."""
        if self.speaks_msgpack and message.get("msgpack") is not None:
            message = {**message, "text": None, "bytes": message["msgpack"]}
        await super().websocket_send(message)

    # Inside

    def _in_form(self, message: SharedMessage) -> SharedMessage:
        """Return the form of a message for many sockets that is spoken here."""
        return message.packed if self.speaks_msgpack and message.packed is not None else message


_HOOKS = ("before_message", "after_message", "on_message_error")


async def receive_typed(consumer: TypedConsumer, table: HandlerTable, payload: str | bytes) -> None:
    """Handle a message of a client, and answer it.

    Args:
        consumer: that of the connection.
        table: its handlers.
        payload: of a text or a binary message.
    """
    is_msgpack = consumer.speaks_msgpack
    if isinstance(payload, str) is is_msgpack:
        reason = "text message where msgpack is spoken" if is_msgpack else "binary message on a JSON endpoint"
        await consumer.close(CloseCode.UNSUPPORTED_DATA, reason)
        return
    try:
        head, message = (table.msgpack if is_msgpack else table.json).decode(payload)
    except MessageRefused as refusal:
        await _fail(consumer, None, refusal, refusal.ref, has_hooks=table.has_hooks)
        return
    handler = table.handlers[head.type]
    try:
        if handler.is_plain and not table.has_hooks:
            reply = await getattr(consumer, handler.name)(message)
        else:
            reply = await _call(consumer, handler, message)
    except StopConsumer:
        raise
    except Exception as error:  # noqa: BLE001  what is no refusal is raised again
        await _fail(consumer, message, error, head.ref, has_hooks=table.has_hooks)
        return
    if reply is not None:
        if is_msgpack:
            await _send(consumer, reply, head.ref)
        else:  # without one more coroutine
            await consumer.base_send({"type": "websocket.send", "text": JSON.encode(reply, head.ref)})
    elif head.ref is not None:
        await _send(consumer, MessageAck(head.ref))
    if table.has_hooks:
        await consumer.after_message(message, reply)


async def _call(consumer: TypedConsumer, handler: Handler, message: Any) -> Any:
    if handler.rate is not None:
        _check_rate(consumer, handler.name, handler.rate)
    if handler.permission is not None:
        await handler.permission.check(consumer, message, handler.name)
    await consumer.before_message(message)
    method = getattr(consumer, handler.name)
    if handler.timeout is None:
        return await method(message)
    scope = None
    try:
        async with consumer.clock.timeout(handler.timeout) as scope:
            return await method(message)
    except TimeoutError:
        if scope is None or not scope.expired():
            raise  # the handler's own
    raise MessageRefused("timeout", f"This took longer than {handler.timeout:g} s, and was given up.")


def _check_rate(consumer: TypedConsumer, name: str, rate: Rate) -> None:
    now = consumer.clock.now()
    if consumer.handler_rates is None:
        consumer.handler_rates = {}
    if name not in consumer.handler_rates:
        consumer.handler_rates[name] = rate.bucket(now)
    if not consumer.handler_rates[name].allows(now):
        raise rate.refusal


async def _fail(consumer: TypedConsumer, message: Any, error: Exception, ref: str | None, *, has_hooks: bool) -> None:
    """Answer a refusal; raise every other exception."""
    if has_hooks:
        try:
            await consumer.on_message_error(message, error)
        except MessageRefused as other:
            error = other
    if not isinstance(error, MessageRefused):
        raise error
    await _send(consumer, MessageError(error.code, error.detail), ref)


async def _send(consumer: TypedConsumer, message: msgspec.Struct, ref: str | None = None) -> None:
    if consumer.speaks_msgpack:
        await consumer.base_send({"type": "websocket.send", "bytes": MSGPACK.encode(message, ref)})
    else:
        await consumer.base_send({"type": "websocket.send", "text": JSON.encode(message, ref)})


def check_handlers(consumer: type[TypedConsumer], plain: type[TypedConsumer]) -> None:
    """Raise ``DeclarationError`` if a consumer with handlers cannot work.

    Args:
        consumer: the class.
        plain: what it would inherit if it did not handle messages in another way, too.
    """
    for name in ("receive", "receive_message"):
        if getattr(consumer, name) is not getattr(plain, name):
            raise DeclarationError(
                f"{consumer.__qualname__} has both @on_message and {name}(), and a message goes to one of them: "
                f"remove {name}()"
            )
    for struct in union_members(consumer.server_messages) if consumer.server_messages is not None else ():
        try:
            wire_type(struct)
        except DeclarationError as error:
            raise DeclarationError(f"{consumer.__qualname__}.server_messages: {error}") from None
