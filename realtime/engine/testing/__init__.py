"""Servers and a client for tests; docs/testing.md shows how to use them."""

from __future__ import annotations

from realtime.engine.auth.logins import create_user, credentials, login_name
from realtime.engine.testing.client import TIMEOUT, Client, Closed, Refused, open_socket
from realtime.engine.testing.processes import (
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
    "create_user",
    "credentials",
    "demo_database",
    "free_port",
    "login_name",
    "migrated_database",
    "open_socket",
]
