"""``PolicyConsumer``: a Channels ``AsyncWebsocketConsumer`` that states what it allows."""

from __future__ import annotations

import asyncio
import time
from typing import Any, ClassVar

import msgspec
from channels.exceptions import StopConsumer
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.utils import timezone

from realtime.engine.auth.authentication import Authentication, identify
from realtime.engine.auth.revocation import current_generation, user_group
from realtime.engine.auth.sessions import Identity, LoginSession
from realtime.engine.auth.throttling import check_handshakes
from realtime.engine.connections.records import Connection, rights_of
from realtime.engine.connections.reporter import reporter
from realtime.engine.connections.slots import Place
from realtime.engine.consumers.rates import MessageRate
from realtime.engine.consumers.typed import MSGPACK_SUBPROTOCOL, TypedConsumer, check_handlers, receive_typed
from realtime.engine.handshake.addresses import client_address, network_of
from realtime.engine.handshake.denial import deny, is_outage, unavailable
from realtime.engine.handshake.origin import check_host, check_origin
from realtime.engine.handshake.query import parse_query
from realtime.engine.protocol.close import CloseCode, truncate_reason
from realtime.engine.protocol.errors import HandshakeRejected
from realtime.engine.protocol.http import offered_subprotocols
from realtime.engine.protocol.messages import CloseFrame, Kind, Message, SharedMessage
from realtime.engine.services.database import in_handshake_thread

__all__ = ["PolicyConsumer"]


class PolicyConsumer(TypedConsumer):
    """Base class of every endpoint.

    Class attributes say what the endpoint allows; methods say what it does. ``connect``, ``receive``, ``disconnect``,
    ``send``, ``close``, ``groups`` and ``channel_layer`` work as the Channels documentation says.

    Attributes:
        policy: limits and choices of the endpoint.
        query_type: a ``msgspec.Struct``; the query string is parsed into ``self.query`` before the
            upgrade, and what does not fit is answered with 400.
        authentication: ``"none"``, ``"optional"`` or ``"required"``; sets ``self.user`` before the upgrade.
        query: the parsed query string, None without a ``query_type``.
        user: the user of the connection, or ``AnonymousUser``.
        subprotocol: the selected subprotocol, None for none.
        close_reason: the reason that came with the close code; set before ``disconnect()`` is called.
    """

    query_type: ClassVar[type[msgspec.Struct] | None] = None
    authentication: ClassVar[str] = Authentication.NONE

    #: ``SocketRouter`` holds a consumer without it to the same origin.
    enforces_policy: ClassVar[bool] = True

    query: Any = None
    _receives_messages: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._receives_messages = cls.receive_message is not PolicyConsumer.receive_message
        if cls.message_handlers is not None:
            check_handlers(cls, PolicyConsumer)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user: AbstractBaseUser | AnonymousUser = AnonymousUser()
        self._rate: MessageRate | None = None
        self._since = timezone.now()
        self._generation = 0
        self._login_session: LoginSession | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._place: Place | None = None

    @property
    def client_network(self) -> str:
        """The client's IPv4 address, or the /64 of its IPv6 address; empty for a UNIX socket."""
        return network_of(client_address(self.scope) or "")

    # What an endpoint overrides

    async def identify(self) -> Identity:
        """Return the user of the handshake, by its credential and ``authentication``.

        Raises:
            HandshakeRejected: 401 without a valid credential where one is needed.
        """
        return await identify(self.scope, Authentication(self.authentication))

    async def handshake(self) -> None:
        """Decide about the request before it is upgraded; ``self.scope``, ``query`` and ``user`` are set.

        Decide and change nothing: it is called again when the user's rights may have changed.

        Raises:
            HandshakeRejected: to answer with an HTTP error instead.
        """

    async def receive_message(self, message: Message) -> None:
        """Handle a text or binary message; override this or Channels' ``receive(text_data, bytes_data)``.

        An endpoint whose messages are structs has methods with ``@on_message`` instead.
        """

    async def access_changed(self) -> None:
        """Handle changed rights: ``self.user`` has just been read again from the database.

        Unless you override it, ``handshake()`` decides, and its refusal closes the connection with 3003.
        """
        try:
            await self.handshake()
        except HandshakeRejected as rejection:
            await self.close(CloseCode.FORBIDDEN, rejection.detail)

    async def on_pong(self, latency: float) -> None:
        """Called when the peer has answered a ping of this server after ``latency`` seconds."""

    # What an endpoint calls

    async def send_message(self, message: Message) -> None:
        """Send a message, and wait while the peer does not read; raise ``ValueError`` for a pong."""
        match message.kind:
            case Kind.TEXT:
                await self.base_send({"type": "websocket.send", "text": message.payload})
            case Kind.BINARY:
                await self.base_send({"type": "websocket.send", "bytes": message.payload})
            case Kind.CLOSE:
                frame = message.close_frame or CloseFrame(CloseCode.NORMAL)
                await self.close(frame.code, frame.reason)
            case Kind.PING:
                await self.ping(message.as_bytes())
            case Kind.PONG:
                raise ValueError("pings are answered by the server; a consumer sends no pong")

    def send_nowait(self, message: SharedMessage) -> None:
        """Queue a message that goes to many sockets, without waiting; for the event-loop thread.

        A peer that does not read is closed with 1013 once ``max_write_buffer_size`` is pending.
        """
        if self._write is not None:
            self._write(message)
        elif not self._mailbox.put(self._in_form(message)):
            self._spawn(self.close(CloseCode.TRY_AGAIN_LATER, "reading too slowly"))

    async def ping(self, data: bytes = b"") -> None:
        """Send a protocol ping; its answer arrives at ``on_pong``. Without the policy extension there is none."""
        if self._write is not None:
            await self.base_send({"type": "websocket.ping", "bytes": data})

    async def join(self, group: str) -> None:
        """Add this connection to a channel-layer group."""
        await self.channel_layer.group_add(group, self.channel_name)

    async def leave(self, group: str) -> None:
        """Remove this connection from a channel-layer group."""
        await self.channel_layer.group_discard(group, self.channel_name)

    async def broadcast(
        self, group: str, *, text: str | None = None, data: bytes | None = None, include_self: bool = False
    ) -> None:
        """Send one message to every connection in a group, in every process.

        Args:
            group: name of the channel-layer group.
            text: a text message.
            data: a binary message; ``ValueError`` unless exactly one of the two is given.
            include_self: send it to this connection too.
        """
        event = SharedMessage(text=text, data=data).as_event()
        if not include_self:
            event["exclude"] = self.channel_name
        await self.channel_layer.group_send(group, event)

    async def sign_in(self, user: AbstractBaseUser | AnonymousUser, generation: int | None = None) -> None:
        """Give the connection a user: it is closed with 3003 when the user is deactivated, deleted or disconnected.

        Args:
            user: the new user of the connection.
            generation: how often everything of the user had been revoked when the credential was checked
                (``Identity.generation``); None reads it now.

        Raises:
            HandshakeRejected: 429 at ``REALTIME_CONNECTIONS_PER_USER``; nothing has changed then.
        """
        if generation is None and user.is_authenticated:
            generation = await in_handshake_thread(current_generation)(user.pk)
        if self._place is not None:
            await self._place.take(user.pk)
        self._generation = generation or 0
        self.user = self.scope["user"] = user
        if user.is_authenticated and self.channel_layer is not None:
            await self.join(user_group(user.pk))
        if self._accepted:
            self._note_connection()

    def expire_at(self, when: float | None) -> None:
        """Close the connection with 3000 at a POSIX time in seconds; None for never. Replaces an earlier time."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if when is not None:
            self._expiry = self.clock.call_later(
                when - time.time(),
                lambda: self._spawn(self.close(CloseCode.UNAUTHORIZED, "the access token has expired")),
            )

    # Channels' API

    async def accept(self, subprotocol: str | None = None, headers: Any = None) -> None:
        """Accept the connection, with the subprotocol that the policy selects unless another is given."""
        event: dict[str, Any] = {
            "type": "websocket.accept",
            "subprotocol": self.subprotocol if subprotocol is None else subprotocol,
            "headers": list(headers or ()),
        }
        if self._write is not None:
            event["policy"] = self.policy.for_wire()
        await self.base_send(event)
        self._accepted = True
        if (write := self._write) is not None and self.speaks_msgpack:
            self._write = lambda message: write(self._in_form(message))
        self._mailbox.open(self._write)
        self._note_connection()

    async def close(self, code: int | bool | None = None, reason: str | None = None) -> None:
        """Close the connection or refuse the handshake; the code is 1000 by default, the reason is cut to 123 bytes."""
        number = CloseCode.NORMAL if code is None or code is True else code
        self._close_code = int(number)
        await self.base_send({"type": "websocket.close", "code": int(number), "reason": truncate_reason(reason or "")})

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        """Make every check of the handshake, then call ``connect()``, which accepts."""
        try:
            await self._admit()
            self._connecting = True
            await super().websocket_connect(message)
        except HandshakeRejected as rejection:
            await deny(self.scope, self.base_send, rejection)
            raise StopConsumer from None
        except Exception as error:
            if self._accepted or not is_outage(error):
                raise
            await deny(self.scope, self.base_send, unavailable(error))
            raise StopConsumer from None

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        """Hand a client's message to what handles messages here, within the policy."""
        text = message.get("text")
        payload = message["bytes"] if text is None else text
        if self._rate is not None and not self._rate.allows(self.clock.now()):
            await self.close(CloseCode.POLICY_VIOLATION, f"over {self._rate.per_second:g} messages per second")
        elif self._write is None and self.policy.is_too_big(payload):
            await self.close(CloseCode.MESSAGE_TOO_BIG, f"over {self.policy.max_message_size} bytes")
        elif self._receives_messages:
            await self.receive_message(Message(Kind.BINARY if text is None else Kind.TEXT, payload))
        elif self.message_handlers is not None:
            await receive_typed(self, self.message_handlers, payload)
        elif text is None:
            await self.receive(bytes_data=payload)
        else:
            await self.receive(text_data=text)

    async def websocket_pong(self, message: dict[str, Any]) -> None:
        """Call ``on_pong`` with the time that the answer took."""
        await self.on_pong(message["latency"])

    async def connection_revoked(self, message: dict[str, Any]) -> None:
        """Close because the user was deactivated, deleted or disconnected by staff."""
        await self.close(message.get("code", CloseCode.FORBIDDEN), message.get("reason", ""))

    async def connection_session_ended(self, message: dict[str, Any]) -> None:
        """Close if the session that has ended opened this connection."""
        if self._login_session is not None and self._login_session.identity == message["session"]:
            await self.close(CloseCode.UNAUTHORIZED, "the session has ended")

    async def connection_access_changed(self, message: dict[str, Any]) -> None:
        """Read the user again, and call ``access_changed()``."""
        user_id: Any = self.user.pk
        users = get_user_model()._default_manager.filter(pk=user_id, is_active=True)
        user = await in_handshake_thread(users.first)()
        if user is None:
            await self.close(CloseCode.FORBIDDEN, "the account is not active")
            return
        self.user = self.scope["user"] = user
        self._note_connection()
        await self.access_changed()

    def _start(self, scope: dict[str, Any], send: Any) -> None:
        super()._start(scope, send)
        rate = self.policy.max_messages_per_second
        if rate is not None:
            self._rate = MessageRate(rate, self.clock.now())

    async def _admit(self) -> None:
        """Make the checks of the handshake in their order, the cheap ones first."""
        scope = self.scope
        check_host(scope)
        await check_handshakes(scope)
        check_origin(scope, self.policy)
        if self.query_type is not None:
            self.query = parse_query(scope, self.query_type)
        identity = await self.identify()
        self.subprotocol = self.policy.select_subprotocol(offered_subprotocols(scope))
        self.speaks_msgpack = self.subprotocol == MSGPACK_SUBPROTOCOL
        # After every other check, because the place has to be given back.
        self._place = Place(scope)
        self._login_session = identity.session
        await self.sign_in(identity.user, identity.generation)
        self.expire_at(identity.expires_at)
        await self.handshake()

    def _note_connection(self) -> None:
        if self.channel_layer is None:
            return
        reporter.add(
            Connection(
                channel=self.channel_name,
                user_id=self.user.pk,
                endpoint=self.scope["path"],
                address=self.client_network,
                since=self._since,
                generation=self._generation,
                rights=rights_of(self.user) if self.user.is_authenticated else None,
                session=self._login_session,
            )
        )

    def _ended(self) -> None:
        self.expire_at(None)
        if self._place is not None:
            self._place.give_back()
        reporter.discard(self.channel_name)
