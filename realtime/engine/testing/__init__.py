"""Servers and clients for tests; docs/testing.md shows how to use them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from realtime.engine.auth.logins import create_user, credentials, login_name
from realtime.engine.testing.client import TIMEOUT, Client, Closed, Refused, open_socket
from realtime.engine.testing.clock import ManualClock
from realtime.engine.testing.processes import (
    PROJECT_ROOT,
    PostgresProcess,
    RedisProcess,
    ServerProcess,
    demo_database,
    free_port,
    migrated_database,
)

if TYPE_CHECKING:
    from realtime.engine.testing.typed import TypedSocket, connect, connect_to

__all__ = [
    "PROJECT_ROOT",
    "TIMEOUT",
    "Client",
    "Closed",
    "ManualClock",
    "PostgresProcess",
    "RedisProcess",
    "Refused",
    "ServerProcess",
    "TypedSocket",
    "connect",
    "connect_to",
    "create_user",
    "credentials",
    "demo_database",
    "free_port",
    "login_name",
    "migrated_database",
    "open_socket",
]


def __getattr__(name: str) -> Any:
    # These need Django's app registry; a script that starts servers does not.
    if name in ("TypedSocket", "connect", "connect_to"):
        return getattr(import_module(f"{__name__}.typed"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
