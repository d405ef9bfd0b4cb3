"""Servers that are forked are what their command starts: a child, with its environment, output and exit status."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from realtime.engine.testing import forking
from realtime.engine.testing.forking import PROJECT_ROOT, ForkedProcess, can_fork, fork_server

COMMAND = (sys.executable, "-m", "daphne", "-p", "8000")


@pytest.mark.parametrize(
    ("command", "cwd", "added", "expected"),
    [
        pytest.param(COMMAND, PROJECT_ROOT, {}, True, id="a module of the project"),
        pytest.param(COMMAND, PROJECT_ROOT, {"PYTHONUNBUFFERED": "1", "REDIS_URL": "x"}, True, id="its environment"),
        pytest.param((sys.executable, "manage.py"), PROJECT_ROOT, {}, False, id="a script"),
        pytest.param(("/usr/bin/python3", *COMMAND[1:]), PROJECT_ROOT, {}, False, id="another Python"),
        pytest.param(COMMAND, Path("/"), {}, False, id="another folder"),
        pytest.param(COMMAND, PROJECT_ROOT, {"PYTHONPATH": "/elsewhere"}, False, id="other packages"),
        pytest.param(COMMAND, PROJECT_ROOT, {"PYTHONASYNCIODEBUG": "1"}, False, id="another mode of Python"),
    ],
)
def test_what_python_does_at_its_start_has_to_be_the_same(command, cwd, added, expected: bool) -> None:
    assert can_fork(command, cwd=cwd, env={**os.environ, **added}) is expected


def start(tmp_path: Path, *arguments: str, **environment: str) -> tuple[ForkedProcess, Path]:
    path = tmp_path / "output"
    command = (sys.executable, "-m", *arguments)
    with path.open("wb") as output:
        return fork_server(command, output, cwd=PROJECT_ROOT, env=environment), path


def test_environment_arguments_output_and_status_are_those_of_the_command(tmp_path: Path) -> None:
    process, output = start(tmp_path, "tests.engine.testing.forked", "a", "b c", NAME="value")
    assert process.wait(30) == 7
    assert process.poll() == process.returncode == 7
    assert output.read_text().splitlines() == [
        "['a', 'b c'] value",
        f"{process.pid} {process.pid} {PROJECT_ROOT}",
        "to stderr",
    ]


def test_a_forked_process_can_be_waited_for_and_ended(tmp_path: Path) -> None:
    process, _ = start(tmp_path, "tests.engine.testing.forked", WAIT="1")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == -signal.SIGTERM
    process.send_signal(signal.SIGTERM)  # harmless after the end


def test_a_process_that_has_ended_instead_of_forking_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    monkeypatch.setattr(forking, "_template", lambda: near)

    def end() -> None:
        with far:
            far.recv(forking.MAX_REQUEST)

    thread = threading.Thread(target=end)
    thread.start()
    with near, pytest.raises(RuntimeError, match="has ended"):
        start(tmp_path, "tests.engine.testing.forked")
    thread.join()
