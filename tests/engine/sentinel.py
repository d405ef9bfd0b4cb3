"""A Redis Sentinel for tests."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from realtime.engine.testing import RedisProcess, free_port

#: Seconds that the Sentinel may take to answer.
TIMEOUT = 10


class SentinelProcess:
    """A Redis Sentinel that knows one server, by the name ``main``."""

    def __init__(self, directory: Path, server: RedisProcess) -> None:
        self.port = free_port()
        self.host = {"sentinels": [("127.0.0.1", self.port)], "master_name": "main"}
        config = directory / "sentinel.conf"
        config.write_text(f"port {self.port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {server.port} 1\n")
        self._process = subprocess.Popen(
            ["redis-server", str(config), "--sentinel"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self._process.stdout is not None
        assert any(b"+monitor master main" in line for line in self._process.stdout)

    def monitor(self, server: RedisProcess) -> None:
        """Give the name to another server, as a failover does."""
        with socket.create_connection(("127.0.0.1", self.port), TIMEOUT) as connection:
            for command in ("REMOVE main", f"MONITOR main 127.0.0.1 {server.port} 1"):
                connection.sendall(f"SENTINEL {command}\r\n".encode())
                assert connection.recv(4096) == b"+OK\r\n"

    def connections(self) -> int:
        """Return how many clients are connected."""
        with socket.create_connection(("127.0.0.1", self.port), TIMEOUT) as connection:
            connection.sendall(b"CLIENT LIST\r\n")
            return connection.recv(1 << 16).count(b"\n") - 3  # the length, this connection and an empty line

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()
