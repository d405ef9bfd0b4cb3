"""How a server ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import selectors
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import websockets.sync.client
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from realtime.engine.server.drain import SPREAD, Drain
from realtime.engine.testing import PROJECT_ROOT, ServerProcess

#: Signals belong to the event loop, sockets to the kind of server: no need to try all pairs.
ENDS = [
    ("asyncio", signal.SIGTERM),
    ("asyncio", signal.SIGINT),
    ("uvloop", signal.SIGTERM),
    ("uvloop", signal.SIGINT),
    ("twisted", signal.SIGTERM),
    ("unix", signal.SIGTERM),
]


def close_code(client: Any) -> int:
    with contextlib.suppress(ConnectionClosed):
        while True:
            client.recv(20)
    return client.protocol.close_rcvd.code


@pytest.mark.parametrize(("kind", "how"), ENDS)
def test_signal_closes_every_socket_with_1012_and_exits_0(serve: Any, kind: str, how: signal.Signals) -> None:
    with serve(kind) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect("/slow_end")) for _ in range(5)]
        half = stack.enter_context(contextlib.closing(server.socket()))
        half.sendall(b"GET /ws HTTP/1.1\r\n")
        returned = stack.enter_context(contextlib.closing(server.upgraded("/give_up")))
        returned.recv(2)
        server.process.process.send_signal(how)
        assert [close_code(client) for client in clients] == [1012] * 5
        assert server.process.process.wait(10) == 0
        assert server.process.log.count("ended 1012") == 5


def test_draining_server_refuses_handshakes_with_503_and_serves_requests(serve: Any) -> None:
    with serve("asyncio", env={"REALTIME_DRAIN_SECONDS": "5"}) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect("/echo")) for _ in range(3)]
        server.process.process.send_signal(signal.SIGTERM)
        while not server.get("/statistics")["draining"]:
            pass
        status, headers, body = server.handshake()
        assert (status, headers["content-type"]) == (503, "application/problem+json")
        assert headers["retry-after"] == "1"
        assert "shutting down" in json.loads(body)["detail"]
        assert [close_code(client) for client in clients] == [1012] * 3
        assert server.process.process.wait(15) == 0


def test_application_and_peer_that_do_not_end_do_not_hold_the_server_up(serve: Any, read_frame: Any) -> None:
    with serve("asyncio") as server, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(contextlib.closing(server.upgraded(path))) for path in ("/stubborn", "/echo")]
        server.process.process.send_signal(signal.SIGTERM)
        for sock in socks:  # neither answers
            assert read_frame(sock)[1][:2] == (1012).to_bytes(2, "big")
        assert server.process.process.wait(10) == 0


def test_uvicorn_closes_with_1012(serve: Any) -> None:
    with serve("uvicorn") as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect("/slow_end")) for _ in range(3)]
        server.process.process.send_signal(signal.SIGTERM)
        assert [close_code(client) for client in clients] == [1012] * 3
        server.process.process.wait(10)
        assert server.process.log.count("ended 1012") == 3


RELOADING = (sys.executable, "manage.py", "runserver", "127.0.0.1:{port}")


@pytest.mark.parametrize("command", [ServerProcess.RUNSERVER, RELOADING], ids=["noreload", "reload"])
def test_runserver_closes_with_1012_when_it_is_stopped_or_reloaded(command: tuple[str, ...]) -> None:
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(ServerProcess(command, env={"REALTIME_DRAIN_SECONDS": "1"}))
        client = stack.enter_context(websockets.sync.client.connect(process.ws("/ws")))
        os.kill(serving_process(process), signal.SIGTERM)
        assert close_code(client) == 1012


def test_runserver_closes_with_1012_when_a_file_changes_and_serves_again(tmp_path: Path) -> None:
    shutil.copy(PROJECT_ROOT / "manage.py", tmp_path)
    for name in ("project", "realtime", "templates", "static", "tests"):
        shutil.copytree(PROJECT_ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    with ServerProcess(RELOADING, cwd=tmp_path, env={"REALTIME_DRAIN_SECONDS": "1"}) as process:
        first = serving_process(process)
        with websockets.sync.client.connect(process.ws("/ws")) as client:
            change_until_closed(tmp_path / "tests" / "engine" / "routing.py", client)
            assert client.protocol.close_rcvd.code == 1012
        with reconnected(process.ws("/ws")) as client:
            client.send("and again")
            assert client.recv(20) == "and again"
        assert serving_process(process) != first
        assert "Traceback" not in process.log


def change_until_closed(path: Path, client: Any) -> None:
    """Change a file; the reloader does not see what happens before its first look."""
    for _ in range(20):
        path.write_text(path.read_text() + "# changed\n")
        try:
            client.recv(2)
        except ConnectionClosed:
            return
        except TimeoutError:
            continue
    raise AssertionError("the reloader has not noticed")


def reconnected(url: str) -> Any:
    """Return a connection as soon as there is a server again."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return websockets.sync.client.connect(url)
        except (OSError, InvalidHandshake, ConnectionClosed):  # the one that goes refuses with 503, and then it is gone
            assert time.monotonic() < deadline, "the server has not come back"
            time.sleep(0.05)


def serving_process(process: ServerProcess) -> int:
    """Return the process that serves: under the autoreloader it is a child."""
    number = process.process.pid
    children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    return int(children[0]) if children else number


class VirtualSelector(selectors.DefaultSelector):
    """Skips the time that the event loop would wait."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers are due as soon as there is nothing else to do."""

    def __init__(self) -> None:
        self.selector = VirtualSelector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now


def run(drain: Drain, seconds: float) -> float:
    """Drain in virtual time; return how long it took."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(drain.run(seconds))
        return runner.get_loop().time()


class FakeConnection:
    """A session that ends when it is asked to, or only by force."""

    def __init__(self, drain: Drain, *, obeys: bool = True) -> None:
        self.drain = drain
        self.obeys = obeys
        self.asked_at: float | None = None
        self.killed = False
        drain.add(self)

    def restart(self) -> None:
        self.asked_at = asyncio.get_running_loop().time()
        if self.obeys:
            self.drain.discard(self)

    def kill(self) -> None:
        self.killed = True
        self.drain.discard(self)


def test_drain_asks_every_session_once_and_spreads_the_asking() -> None:
    drain = Drain()
    connections = [FakeConnection(drain) for _ in range(10)]
    run(drain, 5)
    times = sorted(connection.asked_at for connection in connections)  # type: ignore[type-var]
    assert times == pytest.approx([5 * SPREAD * turn / len(connections) for turn in range(len(connections))])
    assert drain.draining
    assert not drain.connections
    assert not any(connection.killed for connection in connections)


def test_drain_kills_what_does_not_end() -> None:
    drain = Drain()
    connection = FakeConnection(drain, obeys=False)
    assert run(drain, 5) == pytest.approx(5)
    assert connection.killed


class Broken(FakeConnection):
    """A session that cannot be asked to end, and is hardly ended by force."""

    def restart(self) -> None:
        raise RuntimeError("deliberate: restart")

    def kill(self) -> None:
        super().kill()
        raise RuntimeError("deliberate: kill")


def test_session_that_fails_to_end_does_not_keep_the_others_from_their_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    drain = Drain()
    broken = [Broken(drain) for _ in range(3)]
    obedient = [FakeConnection(drain) for _ in range(3)]
    stubborn = [FakeConnection(drain, obeys=False) for _ in range(3)]
    run(drain, 5)
    assert all(connection.asked_at is not None for connection in obedient + stubborn)
    assert all(connection.killed for connection in broken + stubborn)
    assert not drain.connections
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
        *["deliberate: restart"] * 3,
        *["deliberate: kill"] * 3,
    ]


def test_drain_of_an_idle_server_ends_at_once() -> None:
    assert run(Drain(), 3600) == 0
