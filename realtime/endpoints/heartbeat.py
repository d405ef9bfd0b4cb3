"""``/ws/heartbeat``: the server pings, and ends the connection of a peer that has gone silent."""

from __future__ import annotations

from django.conf import settings

from realtime.endpoints.echo import EchoConsumer
from realtime.engine import KIB, SocketPolicy

__all__ = ["HeartbeatConsumer"]


class HeartbeatConsumer(EchoConsumer):
    """Sends a protocol ping every 30 s; a peer that does not answer is closed with 1011. Echoes messages."""

    policy = SocketPolicy(
        max_message_size=64 * KIB,
        max_frame_size=64 * KIB,
        ping_interval=settings.REALTIME_HEARTBEAT_INTERVAL,
        ping_timeout=settings.REALTIME_HEARTBEAT_TIMEOUT,
    )
