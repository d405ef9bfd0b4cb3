"""Channels' live server and ``daphne.testing``: an owner's live tests test the wire, not stock Daphne."""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import daphne.testing
import pytest
from channels.testing import ChannelsLiveServerTestCase
from daphne.testing import DaphneProcess, DaphneTestingInstance
from django.conf import settings
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from realtime.engine.server.daphne import http_channel as channel
from tests.engine.server import apps

TIMEOUT = 20


def closed_with(client: ClientConnection) -> tuple[int, str] | None:
    """Wait for the server's close frame, and return its code and reason."""
    with pytest.raises(ConnectionClosed) as caught:
        client.recv(TIMEOUT)
    close = caught.value.rcvd
    return None if close is None else (close.code, close.reason)


class LiveServerTests(ChannelsLiveServerTestCase):
    """What stock Daphne loses: empty messages, close reasons, refusals with a status and a body."""

    def test_empty_text_message_comes_back(self) -> None:
        with connect(self.live_server_ws_url + "/ws") as client:
            client.send("")
            assert client.recv(TIMEOUT) == ""

    def test_close_reason_reaches_the_client(self) -> None:
        with connect(self.live_server_ws_url + "/ws/rooms") as client:
            client.send(b"binary")
            assert closed_with(client) == (1003, "binary message on a JSON endpoint")

    def test_refusal_says_why(self) -> None:
        with pytest.raises(InvalidStatus) as caught, connect(self.live_server_ws_url + "/ws/connect"):
            pass
        assert caught.value.response.status_code == 400
        assert caught.value.response.headers["content-type"] == "application/problem+json"


def test_live_server_that_loads_the_settings_itself_uses_the_database_of_the_tests() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        name = pool.apply(apps.test_database)
    # pytest-django adds the name of a pytest-xdist worker.
    assert settings.DATABASES["default"]["TEST"]["NAME"].startswith(name)


def end(process: DaphneProcess) -> None:
    """Leave nothing of a process that was terminated: what stays holds the output of the whole run open.

    A handler of SIGTERM that coverage has set can fail, and the process goes on.
    """
    process.join(TIMEOUT)
    process.kill()
    process.join()


@pytest.fixture
def start() -> Iterator[Callable[[], int]]:
    """Start a Daphne as ``daphne.testing`` does, and return its port; all are ended after the test."""
    processes: list[DaphneProcess] = []

    def start_process() -> int:
        process = DaphneProcess("127.0.0.1", apps.get_application)
        processes.append(process)
        process.start()
        assert process.ready.wait(TIMEOUT), process.errors.get(timeout=1)
        return int(process.port.value)

    yield start_process
    for process in processes:
        process.terminate()
        end(process)


@pytest.fixture(params=multiprocessing.get_all_start_methods())
def start_method(request: pytest.FixtureRequest) -> Iterator[str]:
    """How a new process comes to its modules; the default differs from one system to the other."""
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(request.param, force=True)
    yield request.param
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.usefixtures("start_method")
def test_daphne_process_serves_by_the_wire_however_it_is_started(start: Callable[[], int]) -> None:
    with connect(f"ws://127.0.0.1:{start()}/close?code=1012&reason=see+you") as client:
        assert closed_with(client) == (1012, "see you")


class PatientDaphne(DaphneTestingInstance):
    startup_timeout = TIMEOUT

    def __exit__(self, *error: object) -> None:
        process = self.process
        super().__exit__(*error)
        end(process)


def test_daphne_s_own_test_application_reports_scope_and_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daphne.testing.TestApplication, "setup_storage", tmp_path / "setup")
    monkeypatch.setattr(daphne.testing.TestApplication, "result_storage", tmp_path / "result")
    with PatientDaphne() as server:
        server.add_send_messages([{"type": "websocket.accept"}])
        with connect(f"ws://127.0.0.1:{server.port}/path"):
            scope, messages = server.get_received()
    assert scope["path"] == "/path"
    assert messages == [{"type": "websocket.connect"}]


def test_deadlines_are_kept_in_a_daphne_process(start: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "HEAD_TIMEOUT", 0.1)
    with socket.create_connection(("127.0.0.1", start()), TIMEOUT) as sock:
        sock.sendall(b"GET /echo HTTP/1.1\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 408 ")
