"""``/ws/any-protocol``: speaks whatever subprotocol the client offers first."""

from __future__ import annotations

from realtime.endpoints.echo import EchoConsumer
from realtime.engine import MIB, SocketPolicy

__all__ = ["AnyProtocolConsumer"]


class AnyProtocolConsumer(EchoConsumer):
    """Accepts the subprotocol that the client offers first, then echoes."""

    policy = SocketPolicy(accept_any_subprotocol=True, max_message_size=1 * MIB, max_frame_size=1 * MIB)
