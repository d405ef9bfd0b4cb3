"""Servers of tests, forked from a process that has imported their packages already.

Importing Django, REST framework, Twisted and Redis takes a server a second of computing. One process for each run of
pytest does it once, and becomes a new server by ``fork()``: with the environment, the arguments and the output of that
server. It imports nothing that reads settings or the environment, and no reactor: a server does that by itself, as it
would otherwise.

Only on Linux: the new process is handed to the test's own process, which can wait for it as for any child.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

__all__ = ["PROJECT_ROOT", "ForkedProcess", "can_fork", "fork_server"]

PROJECT_ROOT = Path(__file__).resolve().parents[3]

#: What every server imports, and what needs no settings for it.
PACKAGES = [
    "autobahn.twisted.websocket",
    "channels.generic.websocket",
    "django.contrib.admin.sites",
    "django.contrib.messages.middleware",
    "django.contrib.postgres.fields",
    "django.core.handlers.asgi",
    "django.core.management",
    "django.db.backends.sqlite3.base",
    "django.test",
    "environ",
    "jwt",
    "redis.asyncio",
    "rest_framework.serializers",
    "twisted.internet.tcp",
    "twisted.web.http",
    "uuid",
    "websockets.asyncio.client",
    "whitenoise.middleware",
]

#: ``PR_SET_CHILD_SUBREAPER`` of ``prctl(2)``: orphans below this process become its children.
SUBREAPER = 36

#: Enough for a command and its environment.
MAX_REQUEST = 1 << 20


def can_fork(command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> bool:
    """Return whether a command may be forked: ``python -m package ...`` of this project, on Linux.

    Args:
        command: the command line.
        cwd: where it would run.
        env: environment of the new process; what Python reads when it starts must be as in this one.
    """
    plain = (sys.platform, *command[:2], cwd) == ("linux", sys.executable, "-m", PROJECT_ROOT)
    return plain and _of_python(env) == _of_python(os.environ)


def _of_python(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in environment.items() if name.startswith("PYTHON") and name != "PYTHONUNBUFFERED"
    }


class ForkedProcess:
    """A child of this process that ``subprocess`` has not started; it is used as a ``subprocess.Popen`` is.

    Args:
        args: its command line.
        pid: its process id.
    """

    def __init__(self, args: Sequence[str], pid: int) -> None:
        self.args = args
        self.pid = pid
        self.returncode: int | None = None
        self._descriptor = os.pidfd_open(pid)
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit status, or None while the process runs."""
        with self._lock:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
                    os.close(self._descriptor)
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status.

        Args:
            timeout: seconds to wait.

        Raises:
            subprocess.TimeoutExpired: if it still runs then.
        """
        if self.returncode is None:
            waiting = select.poll()
            waiting.register(self._descriptor, select.POLLIN)
            if not waiting.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        status = self.poll()
        assert status is not None
        return status

    def send_signal(self, how: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, how)


def fork_server(command: Sequence[str], output: IO[bytes], *, cwd: Path, env: Mapping[str, str]) -> ForkedProcess:
    """Start ``python -m package ...`` in a session of its own.

    Args:
        command: the command line, for which ``can_fork()`` is true.
        output: where its output and its errors go.
        cwd: where it runs.
        env: all of its environment.

    Raises:
        RuntimeError: if nothing can be forked.
    """
    request = json.dumps({"arguments": list(command[2:]), "cwd": str(cwd), "env": dict(env)})
    libc = ctypes.CDLL(None)
    with _LOCK:
        channel = _template()
        libc.prctl(SUBREAPER, 1, 0, 0, 0)
        try:
            socket.send_fds(channel, [request.encode()], [output.fileno()])
            pid = channel.recv(32)
            if not channel.recv(32):
                raise RuntimeError("The process that forks servers has ended; it has printed why.")
        finally:
            libc.prctl(SUBREAPER, 0, 0, 0, 0)
    return ForkedProcess(command, int(pid))


_LOCK = threading.Lock()


@functools.cache
def _template() -> socket.socket:
    """Start the process from which servers are forked, and return the socket that it listens to."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with far:
        process = subprocess.Popen(
            [sys.executable, "-c", f"import {__name__} as forking; forking.serve({far.fileno()})"],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            cwd=PROJECT_ROOT,
            pass_fds=[far.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def end() -> None:
        near.close()
        process.terminate()
        process.wait()

    atexit.register(end)
    return near


def serve(descriptor: int) -> None:
    """Import the packages, and become a server for each request; returns at the end of the test's process.

    Args:
        descriptor: of the socket that ``fork_server()`` writes to.
    """
    for name in PACKAGES:
        importlib.import_module(name)
    with socket.socket(fileno=descriptor) as channel:
        while True:
            request, descriptors, _, _ = socket.recv_fds(channel, MAX_REQUEST, 1)
            if not request:
                return
            parent = os.fork()
            if parent == 0:
                pid = os.fork()
                if pid == 0:
                    break
                channel.send(str(pid).encode())
                os._exit(0)
            os.close(descriptors[0])
            os.waitpid(parent, 0)
            channel.send(b"orphaned")
    _become(json.loads(request), descriptors[0])


def _become(request: dict[str, Any], output: int) -> None:
    """Run a module as ``python -m`` does."""
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[0] = request["cwd"]
    module, *sys.argv[1:] = request["arguments"]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
