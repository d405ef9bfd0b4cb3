"""``/ws/policy``: every part of a policy at work."""

from __future__ import annotations

from realtime.endpoints.echo import EchoConsumer
from realtime.engine import KIB, MIB, SocketPolicy

__all__ = ["PolicyEchoConsumer"]


class PolicyEchoConsumer(EchoConsumer):
    """Echoes under tight limits: two subprotocols, 1 MiB messages, 256 KiB frames, masked frames only."""

    policy = SocketPolicy(
        subprotocols=("graphql-ws", "graphql-transport-ws"),
        max_message_size=1 * MIB,
        max_frame_size=256 * KIB,
        write_buffer_size=128 * KIB,
        max_write_buffer_size=None,
        accept_unmasked_frames=False,
    )
