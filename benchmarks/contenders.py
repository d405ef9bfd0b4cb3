"""The contenders, and how each is started: as its own documentation recommends for production."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["SERVER_CORE", "Contender", "RunningServer", "contenders"]

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "benchmarks"

#: The server has the first core to itself, the load client the last one.
SERVER_CORE = 0

#: Seconds that a server may take to listen.
START_TIMEOUT = 30

#: Versions of ws and of its native helper, from the npm registry.
NODE_PACKAGES = ("ws@8", "bufferutil@4")

#: Goes to the server's core, and becomes the server.
PINNED = f"import os, sys; os.sched_setaffinity(0, {[SERVER_CORE]}); os.execvp(sys.argv[1], sys.argv[1:])"

DAPHNE_OPTIONS = ("-v", "0", "-b", "127.0.0.1", "-p", "{port}")
UVICORN = ("uvicorn", "--log-level", "warning", "--host", "127.0.0.1", "--port", "{port}", "--loop", "uvloop")


@dataclass(frozen=True, slots=True)
class Contender:
    """One server.

    Args:
        name: as in the tables.
        command: its command line, with ``{port}``.
        packages: the Python distributions whose versions matter.
        needs_redis: whether it gets ``REDIS_URL``.
        is_ours: whether it is this project.
    """

    name: str
    command: Sequence[str]
    packages: Sequence[str] = ()
    needs_redis: bool = False
    is_ours: bool = False
    notes: Sequence[str] = field(default=())

    @property
    def shown_command(self) -> str:
        """The command line as a person would type it."""
        program = "python" if self.command[0] == sys.executable else Path(self.command[0]).name
        parts = [program, *(part.replace(f"{ROOT}/", "") for part in self.command[1:])]
        return " ".join(part if " " not in part else f"'{part}'" for part in parts)

    @property
    def versions(self) -> str:
        """Names and versions of what it is made of."""
        return ", ".join([*(f"{name} {importlib.metadata.version(name)}" for name in self.packages), *self.notes])


class RunningServer:
    """A contender at work on the server's core.

    Args:
        contender: which one.
        redis_url: the Redis for those that need one.
        database: a migrated SQLite database for this project.
    """

    def __init__(self, contender: Contender, redis_url: str | None, database: Path) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        environment = {
            **os.environ,
            "DJANGO_SECRET_KEY": "benchmark-" * 6,
            "DJANGO_ALLOWED_HOSTS": "*",
            "DJANGO_LOG_LEVEL": "WARNING",
            "DATABASE_URL": f"sqlite:///{database}",
            "NODE_PATH": str(BUILD / "node_modules"),
        }
        environment.pop("REDIS_URL", None)
        if contender.is_ours:
            environment["DJANGO_SETTINGS_MODULE"] = "benchmarks.servers.project_settings"
        if contender.needs_redis and redis_url is not None:
            environment["REDIS_URL"] = redis_url
        self._log = (BUILD / "server.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-c", PINNED, *(part.replace("{port}", str(self.port)) for part in contender.command)],
            cwd=ROOT,
            env=environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._wait_until_listening(contender.name)

    def url(self, path: str) -> str:
        """Return the WebSocket address of ``path``."""
        return f"ws://127.0.0.1:{self.port}{path}"

    def cpu_seconds(self) -> float:
        """Return the processor time that the server has used so far, in user and in system mode."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """Return the memory that the server has in use."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> None:
        """End the server at once; its connections have served their purpose."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def _wait_until_listening(self, name: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"{name} ended with {self._process.returncode}; see {BUILD / 'server.log'}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        self.stop()
        raise RuntimeError(f"{name} did not listen within {START_TIMEOUT} s")


def contenders() -> list[Contender]:
    """Return the contenders that can run on this machine."""
    daphne = (sys.executable, "-m", "daphne", *DAPHNE_OPTIONS)
    ours = ("daphne", "channels")
    stock = "benchmarks.servers.stock:application"
    found = [
        Contender("this project on Daphne", (*daphne, "project.asgi:application"), ours, is_ours=True),
        Contender(
            "this project on Daphne, uvloop",
            (sys.executable, "-m", "project", *DAPHNE_OPTIONS),
            (*ours, "uvloop"),
            is_ours=True,
        ),
        Contender(
            "this project on Daphne, Redis",
            (*daphne, "project.asgi:application"),
            (*ours, "redis"),
            needs_redis=True,
            is_ours=True,
        ),
    ]
    if importlib.util.find_spec("realtime.engine.server.uvicorn") is not None:
        command = (sys.executable, "-m", *UVICORN, "--ws", "realtime.engine.server.uvicorn:WebSocketProtocol")
        found.append(
            Contender(
                "this project on uvicorn",
                (*command, "project.asgi:application"),
                ("uvicorn", "channels", "uvloop"),
                is_ours=True,
            )
        )
    found += [
        Contender("Channels on Daphne", (*daphne, stock), ("daphne", "channels", "autobahn")),
        Contender(
            "Channels on Daphne, Redis pub/sub", (*daphne, stock), ("daphne", "channels-redis"), needs_redis=True
        ),
        Contender(
            "FastAPI on uvicorn",
            (sys.executable, "-m", *UVICORN, "--ws", "websockets-sansio", "benchmarks.servers.fastapi_app:app"),
            ("fastapi", "uvicorn", "websockets", "uvloop"),
        ),
    ]
    node = _node()
    if node is not None:
        found.append(node)
    return found


def _node() -> Contender | None:
    """Return Node's ``ws``, installed into the build directory; None without Node or without the registry."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        print("  node or npm is not installed: without Node `ws`")
        return None
    BUILD.mkdir(parents=True, exist_ok=True)
    if not (BUILD / "node_modules" / "ws").is_dir():
        install = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(BUILD), *NODE_PACKAGES]
        if subprocess.run(install, check=False).returncode != 0:
            print("  npm could not install ws: without Node `ws`")
            return None
    # Modules are found beside the script.
    script = BUILD / "node_ws.mjs"
    script.write_text((Path(__file__).parent / "servers" / "node_ws.mjs").read_text())
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return Contender(
        "Node ws",
        (node, str(script), "{port}"),
        notes=(f"node {version}", *(_npm_version(name) for name in ("ws", "bufferutil"))),
    )


def _npm_version(package: str) -> str:
    path = BUILD / "node_modules" / package / "package.json"
    return f"{package} {json.loads(path.read_text())['version']}" if path.is_file() else f"without {package}"
