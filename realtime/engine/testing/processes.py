"""A real server for tests: this project in a process of its own, on a free port, with its own database.

    with ServerProcess() as server:
        async with websockets.connect(server.ws("/ws")) as client:
            ...

The commands that a person would type are the ones that run: ``daphne``, ``manage.py runserver``, ``uvicorn``.
On Linux ``python -m ...`` is forked from a process that has imported its packages already (``forking.py``).
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from realtime.engine.testing.forking import PROJECT_ROOT, ForkedProcess, can_fork, fork_server

__all__ = [
    "PROJECT_ROOT",
    "PostgresProcess",
    "RedisProcess",
    "ServerProcess",
    "demo_database",
    "free_port",
    "migrated_database",
]

TEST_PORTS = range(15_000, 32_000)

#: Seconds that a server may take to listen, on a busy machine.
START_TIMEOUT = 30
#: Seconds that a stopped server may take to exit before it is killed.
STOP_TIMEOUT = 20


def free_port() -> int:
    """Return a TCP port on which nothing listens.

    It is below the ports that the system gives out by itself (32768 and up on Linux): one of these may belong to
    another program by the time that the server listens, and a test would talk to that program.

    Raises:
        RuntimeError: if none is found.
    """
    for port in random.SystemRandom().sample(TEST_PORTS, 100):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no free port from {TEST_PORTS.start} to {TEST_PORTS.stop - 1}")


class _Process:
    """A server on a port of this machine, to stop, to kill and to hold up."""

    port: int
    process: subprocess.Popen[bytes] | ForkedProcess

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self.process.pid

    @property
    def log(self) -> str:
        """Everything that the process has printed so far."""
        return self._log_path.read_text(errors="replace")

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout: float = STOP_TIMEOUT) -> int:
        """Send a signal, wait for the exit, and return the exit status; a process that stays is killed.

        Args:
            how: the signal.
            timeout: seconds to wait before the process is killed.
        """
        self.process.send_signal(how)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.wait()

    def kill(self) -> None:
        """End the process and its children at once (SIGKILL)."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def pause(self) -> None:
        """Let the server hang: its connections stay open and nothing is answered (SIGSTOP)."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        self.process.send_signal(signal.SIGCONT)

    def _spawn(self, command: Sequence[str], log: Path, **options: Any) -> None:
        """Start the process, and wait until it listens."""
        self._log_path = log
        with log.open("wb") as output:
            self.process = self._start(command, output, **options)
        try:
            self._wait_until_listening()
        except BaseException:
            self.kill()
            raise

    def _start(
        self, command: Sequence[str], output: IO[bytes], **options: Any
    ) -> subprocess.Popen[bytes] | ForkedProcess:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A shell's background jobs ignore Ctrl-C, and so would their children.
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            **options,
        )

    def _wait_until_listening(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.process.args!r} ended with {self.process.returncode}:\n{self.log}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self.process.args!r} did not listen within {START_TIMEOUT} s:\n{self.log}")


class ServerProcess(_Process):
    """The project served by a process of its own.

    Args:
        command: the server's command line; ``{port}`` is replaced by a free port. The default is the
            plain production command, ``daphne -p {port} project.asgi:application``.
        env: environment variables on top of this process's; None removes one.
        cwd: where the command runs; the project's root by default.
        database: path of an SQLite file; a new migrated one by default.
        port: the port to serve on; a free one by default.
        fork: start ``python -m ...`` of this project in a process that has imported its packages already, on Linux;
            False starts the command itself.

    Raises:
        RuntimeError: if the server ends before it listens; the message carries its output.
    """

    DAPHNE = (sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", "project.asgi:application")
    RUNSERVER = (sys.executable, "manage.py", "runserver", "--noreload", "127.0.0.1:{port}")

    def __init__(
        self,
        command: Sequence[str] = DAPHNE,
        *,
        env: Mapping[str, str | None] | None = None,
        cwd: Path = PROJECT_ROOT,
        database: Path | None = None,
        port: int | None = None,
        fork: bool = True,
    ) -> None:
        self.port = port or free_port()
        self.command = [part.replace("{port}", str(self.port)) for part in command]
        self.cwd = cwd
        self._env = dict(env or {})
        self._database = database
        self._fork = fork

    def http(self, path: str = "/") -> str:
        """Return the ``http://`` address of ``path``."""
        return f"http://127.0.0.1:{self.port}{path}"

    def ws(self, path: str) -> str:
        """Return the ``ws://`` address of ``path``."""
        return f"ws://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> ServerProcess:
        with contextlib.ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="realtime-")))
            if self._database is None and "DATABASE_URL" not in self._env:
                self._database = directory / "db.sqlite3"
                self._database.write_bytes(migrated_database().read_bytes())
            self._spawn(self.command, directory / "server.log", cwd=self.cwd, env=self._environment())
            stack.callback(self.stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _start(
        self, command: Sequence[str], output: IO[bytes], **options: Any
    ) -> subprocess.Popen[bytes] | ForkedProcess:
        if self._fork and can_fork(command, **options):
            return fork_server(command, output, **options)
        return super()._start(command, output, **options)

    def _environment(self) -> dict[str, str]:
        values: dict[str, str | None] = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if self._database is not None:
            values["DATABASE_URL"] = f"sqlite:///{self._database}"
        values.update(self._env)
        return {name: value for name, value in values.items() if value is not None}


@functools.cache
def migrated_database() -> Path:
    """Return the path of a migrated, empty SQLite database, made once for each process; copy it to use it."""
    return _make_database("migrate", "--verbosity", "0")


@functools.cache
def demo_database(password: str) -> Path:
    """Return the path of an SQLite database with the demo data, made once for each process; copy it to use it.

    Args:
        password: of the users ``admin`` and ``ann``.
    """
    return _make_database("demo", "--password", password)


def _make_database(*command: str) -> Path:
    # Not a TemporaryDirectory: a forked child, which forgets what is to be done at exit, would remove it.
    directory = tempfile.mkdtemp(prefix="realtime-database-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    path = Path(directory) / "db.sqlite3"
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{path}", "DJANGO_DEBUG": "1"}
    subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=PROJECT_ROOT,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    # Move the write-ahead log into the file, so that the file alone can be copied.
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


class RedisProcess(_Process):
    """A real Redis server that a test may kill, hold up and start again, always on the same port.

    Raises:
        FileNotFoundError: if redis-server is not installed.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Start the server, without anything that it kept, and wait until it listens."""
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self._spawn(["redis-server", *options], Path(os.devnull))

    def command(self, line: str) -> bytes:
        """Send one inline command, like ``CLIENT KILL TYPE pubsub``, and return the first part of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(f"{line}\r\n".encode())
            return connection.recv(4096)


class PostgresProcess:
    """A real PostgreSQL server with a cluster of its own; ``create_database()`` gives each test a database.

    PostgreSQL refuses to run as root: there it runs as the user ``postgres``, which its package creates.

    Raises:
        FileNotFoundError: if PostgreSQL is not installed.
    """

    ADMINISTRATOR = "postgres"

    def __init__(self) -> None:
        self._bin = _postgresql_programs()
        self._stack = contextlib.ExitStack()
        self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="postgresql-")))
        self._databases = 0
        self.port = free_port()
        self._as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._as_user = {"user": self.ADMINISTRATOR, "group": self.ADMINISTRATOR}
            shutil.chown(self._directory, self.ADMINISTRATOR, self.ADMINISTRATOR)
        try:
            self._run("initdb", "--auth=trust", "--no-sync", "--encoding=UTF8", "-U", self.ADMINISTRATOR, "-D", "data")
            self._run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", self._options(), "start")
        except subprocess.CalledProcessError:
            self._stack.close()
            raise
        self._stack.callback(self._run, "pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")

    def create_database(self) -> str:
        """Return the ``DATABASE_URL`` of a new, empty database."""
        self._databases += 1
        name = f"realtime_{self._databases}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", self.ADMINISTRATOR, name)
        return f"postgres://{self.ADMINISTRATOR}@127.0.0.1:{self.port}/{name}"

    def pause(self) -> None:
        """Let the server hang: its connections stay open and nothing is answered (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def _signal(self, how: signal.Signals) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):  # a backend whose client has gone
                os.kill(pid, how)

    def processes(self) -> list[int]:
        """Return the process ids: the postmaster, which makes new ones, and then the others."""
        postmaster = (self._directory / "data/postmaster.pid").read_text().split("\n", 1)[0]
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        return [int(postmaster), *map(int, children)]

    def stop(self) -> None:
        """Stop the server and remove its files."""
        self._stack.close()

    def _options(self) -> str:
        # A test's database need not survive a power cut.
        settings = ("fsync=off", "synchronous_commit=on", "full_page_writes=off", "max_connections=100")
        return f"-h 127.0.0.1 -p {self.port} -k {self._directory} " + " ".join(f"-c {setting}" for setting in settings)

    def _run(self, program: str, *arguments: str) -> None:
        # pg_ctl leaves the server behind, which would keep a pipe open: its output goes nowhere.
        subprocess.run(
            [str(self._bin / program), *arguments],
            cwd=self._directory,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._as_user,
        )


def _postgresql_programs() -> Path:
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    # Debian keeps the programs of each version apart, and out of PATH.
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not versions:
        raise FileNotFoundError("PostgreSQL (initdb) is not installed")
    return versions[-1].parent
