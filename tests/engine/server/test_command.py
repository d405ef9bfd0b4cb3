"""``python -m project``: Daphne's command line with uvloop and the application filled in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import websockets.sync.client

from realtime.engine.testing import ServerProcess

COMMAND = (sys.executable, "-m", "project", "-b", "127.0.0.1", "-p", "{port}")


def test_project_is_served_without_naming_the_application() -> None:
    with ServerProcess(COMMAND, fork=False) as server:
        with websockets.sync.client.connect(server.ws("/ws")) as client:
            client.send("hi")
            assert client.recv() == "hi"
        assert server.stop(signal.SIGTERM) == 0


#: Starts the reactor of ``python -m project``, and prints what loops and how many threads there are.
REACTOR = """
import asyncio, threading
from realtime.engine.server.command import use_uvloop
use_uvloop()
import daphne.server
from twisted.internet import reactor

def report():
    loop, done = asyncio.get_running_loop(), threading.Event()
    for _ in range(50):
        loop.run_in_executor(None, done.wait)
    print(type(loop).__name__, isinstance(asyncio.new_event_loop(), type(loop)), threading.active_count() - 1)
    done.set()
    reactor.stop()

reactor.callLater(0, report)
reactor.run()
"""


def run(code: str, **env: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **env}).stdout


def test_event_loop_of_the_server_is_uvloop_s_and_no_other_one() -> None:
    assert run(REACTOR).split()[:2] == ["ReactorLoop", "False"]


def test_number_of_threads_is_that_of_the_environment() -> None:
    assert run(REACTOR, ASGI_THREADS="3").split()[2] == "3"


def test_options_are_those_of_daphne() -> None:
    def options(*command: str) -> set[str]:
        shown = subprocess.run([sys.executable, "-m", *command, "--help"], capture_output=True, text=True, check=True)
        usage = shown.stdout.replace("python -m project", "")
        return {word.strip("[],") for word in usage.split() if word.strip("[],").startswith("-")}

    assert options("project") == options("daphne")
