"""``python -m project``: Daphne's command line with uvloop and the application filled in."""

from __future__ import annotations

import signal
import subprocess
import sys

import websockets.sync.client

from realtime.testing import ServerProcess

COMMAND = (sys.executable, "-m", "project", "-b", "127.0.0.1", "-p", "{port}")


def test_project_is_served_without_naming_the_application() -> None:
    with ServerProcess(COMMAND) as server:
        with websockets.sync.client.connect(server.ws("/ws")) as client:
            client.send("hi")
            assert client.recv() == "hi"
        assert server.stop(signal.SIGTERM) == 0


def test_event_loop_is_uvloop_s() -> None:
    code = (
        "from project.__main__ import use_uvloop; use_uvloop(); "
        "import daphne.server; print(type(daphne.server.twisted_loop))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "ReactorLoop" in shown


def test_options_are_those_of_daphne() -> None:
    def options(*command: str) -> set[str]:
        shown = subprocess.run([sys.executable, "-m", *command, "--help"], capture_output=True, text=True, check=True)
        usage = shown.stdout.replace("python -m project", "")
        return {word.strip("[],") for word in usage.split() if word.strip("[],").startswith("-")}

    assert options("project") == options("daphne")
