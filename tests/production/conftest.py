"""The production topology on loopback: nginx with the shipped configuration, web processes, PostgreSQL and Redis."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from realtime.engine.testing import PROJECT_ROOT, PostgresProcess, RedisProcess, ServerProcess, free_port

NGINX = PROJECT_ROOT / "docker/nginx"

#: The command of the Dockerfile, on loopback.
_COMMAND = re.search(r"^CMD (\[.*\])$", (PROJECT_ROOT / "docker/Dockerfile").read_text(), re.MULTILINE)
assert _COMMAND is not None
WEB_COMMAND = (
    sys.executable,
    *(part.replace("8000", "{port}").replace("0.0.0.0", "127.0.0.1") for part in json.loads(_COMMAND[1])[1:]),
)


def find_program(name: str) -> str:
    """Return the path of a program; where it is missing the test is skipped, and fails in CI."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"{name} is not installed")
    return path


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Find a program that a test needs."""
    return find_program


class NginxProcess:
    """nginx with the shipped configuration; only addresses and paths are replaced.

    Args:
        directory: for its files.
        upstreams: ports of the web processes.
        server: the file with the ``server`` block.
    """

    def __init__(self, directory: Path, upstreams: Sequence[int], server: str = "server.conf") -> None:
        self._program = find_program("nginx")
        self.directory = directory
        self.port = free_port()
        self.tls_port = free_port()
        self._upstreams = list(upstreams)
        for name in ("nginx.conf", "upstream.conf", "site.conf", server):
            target = "server.conf" if name == server else name
            (directory / target).write_text(self._substituted((NGINX / name).read_text()))
        self._process: subprocess.Popen[bytes] | None = None

    def _substituted(self, text: str) -> str:
        folder = str(self.directory)
        text = text.replace("/etc/nginx/realtime", folder).replace("/etc/nginx/tls", folder)
        text = text.replace("/run/nginx.pid", f"{folder}/nginx.pid")
        text = text.replace("/var/log/nginx", folder)
        text = re.sub(r"listen 80\b", f"listen 127.0.0.1:{self.port}", text)
        text = re.sub(r"listen 443\b", f"listen 127.0.0.1:{self.tls_port}", text)
        for number, port in enumerate(self._upstreams, start=1):
            text = text.replace(f"web-{number}:8000", f"127.0.0.1:{port}")
        return text

    def check(self) -> subprocess.CompletedProcess[str]:
        """Let nginx check the configuration."""
        return subprocess.run(self._command("-t"), capture_output=True, text=True, check=False)

    def start(self) -> None:
        """Start, and wait until it listens."""
        self._process = subprocess.Popen(self._command("-g", "daemon off;"), stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"nginx did not start:\n{self.log('error')}")

    def reload(self) -> None:
        """Read the configuration again."""
        subprocess.run(self._command("-s", "reload"), check=True)

    @property
    def pid(self) -> int:
        """The process id of the master."""
        assert self._process is not None
        return self._process.pid

    def workers(self) -> set[int]:
        """Return the process ids of the workers, those that are on their way out included."""
        return set(map(int, Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()))

    def stop(self) -> None:
        """End nginx and its workers."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)

    def log(self, name: str) -> str:
        """Return a log, ``access`` or ``error``."""
        path = self.directory / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def ws(self, path: str) -> str:
        """Return the ``ws://`` address of a path."""
        return f"ws://127.0.0.1:{self.port}{path}"

    def http(self, path: str) -> str:
        """Return the ``http://`` address of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def _command(self, *arguments: str) -> list[str]:
        return [self._program, "-p", str(self.directory), "-c", str(self.directory / "nginx.conf"), *arguments]


@pytest.fixture
def make_nginx(tmp_path: Path) -> Iterator[Callable[..., NginxProcess]]:
    """Make an nginx in front of some ports."""
    made: list[NginxProcess] = []

    def make(upstreams: Sequence[int], server: str = "server.conf") -> NginxProcess:
        directory = tmp_path / f"nginx-{len(made)}"
        directory.mkdir()
        made.append(NginxProcess(directory, upstreams, server))
        return made[-1]

    yield make
    for nginx in made:
        nginx.stop()


class Topology:
    """nginx, two web processes, PostgreSQL and Redis."""

    DRAIN_SECONDS = 4

    def __init__(self, database_url: str, redis_url: str, make_nginx: Callable[..., NginxProcess]) -> None:
        self._stack = contextlib.ExitStack()
        self._environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "WEB_CONCURRENCY": "2",
            "DJANGO_SECRET_KEY": "a-secret-of-the-test-0123456789-0123456789-0123456789",
            "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
            "DJANGO_SECURE_SSL_REDIRECT": "0",
            "REALTIME_TRUSTED_PROXIES": "1",
            "REALTIME_DRAIN_SECONDS": str(self.DRAIN_SECONDS),
            # All clients of the test have one address.
            "REALTIME_HANDSHAKES_PER_MINUTE": "0",
            "REALTIME_CONNECTIONS_PER_ADDRESS": "0",
        }
        self.web = [self.start_web(port) for port in (free_port(), free_port())]
        self.nginx = make_nginx([web.port for web in self.web])
        self.nginx.start()

    def start_web(self, port: int) -> ServerProcess:
        """Start a web process."""
        return self._stack.enter_context(ServerProcess(WEB_COMMAND, port=port, env=self._environment, fork=False))

    def replace_web(self, number: int) -> None:
        """Stop a web process as an orchestrator does, and start another in its place."""
        old = self.web[number]
        status = old.stop(timeout=self.DRAIN_SECONDS + 15)
        assert status == 0, old.log[-2000:]
        self.web[number] = self.start_web(old.port)

    def manage(self, *command: str) -> None:
        """Run a management command on the topology's database."""
        manage(self._environment["DATABASE_URL"], *command)

    def close(self) -> None:
        """Stop the web processes."""
        self._stack.close()


def manage(database_url: str, *command: str) -> None:
    """Run a management command on a database."""
    subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=PROJECT_ROOT,
        env={**os.environ, "DATABASE_URL": database_url, "DJANGO_DEBUG": "1"},
        check=True,
        stdout=subprocess.DEVNULL,
    )


@pytest.fixture
def database_url(postgresql_server: PostgresProcess, password: str) -> str:
    """A PostgreSQL database with the demo users and the room ``lobby``, in which anonymous users may write."""
    url = postgresql_server.create_database()
    manage(url, "demo", "--password", password)
    return url


@pytest.fixture
def topology(
    database_url: str,
    redis_server: RedisProcess,
    make_nginx: Callable[..., NginxProcess],
) -> Iterator[Topology]:
    """The whole site."""
    running = Topology(database_url, redis_server.url, make_nginx)
    yield running
    running.close()
