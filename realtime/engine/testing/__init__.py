"""Servers and a client for tests; docs/testing.md shows how to use them."""

from __future__ import annotations

from realtime.engine.testing.client import TIMEOUT, Client, Closed, Refused, open_socket
from realtime.engine.testing.server import (
    PROJECT_ROOT,
    PostgresProcess,
    RedisProcess,
    ServerProcess,
    demo_database,
    free_port,
    migrated_database,
)

__all__ = [
    "PROJECT_ROOT",
    "TIMEOUT",
    "Client",
    "Closed",
    "PostgresProcess",
    "RedisProcess",
    "Refused",
    "ServerProcess",
    "demo_database",
    "free_port",
    "migrated_database",
    "open_socket",
]
