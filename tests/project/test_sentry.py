"""Sentry gets an error once, with the endpoint it belongs to, and nothing of the person it happened to."""

from __future__ import annotations

import gzip
import json
import os
import queue
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from realtime.engine.monitoring.sentry import scrub
from realtime.engine.testing import PROJECT_ROOT, ServerProcess
from realtime.engine.testing.client import open_socket

SECRET = "s3cr3t"


class FakeSentry:
    """Takes envelopes, as Sentry does.

    Attributes:
        dsn: what goes into ``SENTRY_DSN``.
    """

    def __init__(self) -> None:
        received: queue.SimpleQueue[bytes] = queue.SimpleQueue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/api/1/envelope/"
                received.put(gzip.decompress(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        self._received = received
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.dsn = f"http://key@127.0.0.1:{self._server.server_port}/1"

    def items(self) -> list[tuple[str, Any]]:
        """Return what has come so far: each item of the envelopes with its type."""
        found = []
        while not self._received.empty():
            lines = self._received.get().splitlines()[1:]
            for header, body in zip(lines[::2], lines[1::2], strict=True):
                found.append((json.loads(header)["type"], json.loads(body)))
        return found

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def sentry() -> Iterator[FakeSentry]:
    """A Sentry of the test's own."""
    made = FakeSentry()
    yield made
    made.close()


def server(sentry: FakeSentry, database: Path, **environment: str) -> ServerProcess:
    settings = {"DJANGO_SETTINGS_MODULE": "tests.project.sentry_settings", "SENTRY_DSN": sentry.dsn}
    return ServerProcess(database=database, env=settings | environment)


@pytest.mark.parametrize("message", [SECRET * 3, SECRET.encode()], ids=["a client's message", "the channel layer's"])
async def test_an_error_of_a_consumer_is_sent_once_with_its_path(
    message: str | bytes, sentry: FakeSentry, database_copy: Path
) -> None:
    headers = {"Cookie": f"sessionid={SECRET}", "X-Forwarded-For": SECRET}
    with server(sentry, database_copy, SENTRY_ENVIRONMENT="staging") as process:
        async with await open_socket(process.ws(f"/ws/fails/one?page={SECRET}"), headers=headers) as client:
            await client.send(message)
            assert (await client.closed()).code == 1011
        assert process.stop() == 0  # and what is left is sent
        log = process.log
    assert log.count("Traceback") == 1
    items = sentry.items()
    [event] = [item for kind, item in items if kind == "event"]
    [error] = event["exception"]["values"]
    assert error["type"] == "RuntimeError"
    assert error["value"].startswith("cannot work on")
    assert event["transaction"] == "/ws/fails/<slug:name>"
    assert event["tags"]["path"] == "/ws/fails/one"
    assert f"connection={event['tags']['connection']}" in log
    assert event["environment"] == "staging"
    assert SECRET not in json.dumps(items)


async def test_connections_that_go_well_send_nothing(sentry: FakeSentry, database_copy: Path) -> None:
    with server(sentry, database_copy) as process:
        async with await open_socket(process.ws("/ws/fails/one")):
            pass
        assert process.stop() == 0
    assert "event" not in dict(sentry.items())


@pytest.mark.parametrize("rate", ["0", "1"])
def test_an_error_of_a_view_is_sent_once_and_its_time_where_asked(
    rate: str, sentry: FakeSentry, database_copy: Path
) -> None:
    with server(sentry, database_copy, SENTRY_TRACES_SAMPLE_RATE=rate) as process:
        request = urllib.request.Request(
            process.http(f"/fails/?page={SECRET}"),
            data=f"content={SECRET}".encode(),
            headers={"Cookie": f"sessionid={SECRET}", "Authorization": f"Bearer {SECRET}"},
        )
        with pytest.raises(urllib.error.HTTPError, match="500"):
            urllib.request.urlopen(request)
        assert process.stop() == 0
        address = process.http("/fails/")
    items = sentry.items()
    [event] = [item for kind, item in items if kind == "event"]
    assert event["exception"]["values"][0]["value"] == "no page"
    assert event["request"] == {"method": "POST", "url": address}
    assert event["environment"] == "development"
    assert [item["transaction"] for kind, item in items if kind == "transaction"] == ["/fails/"] * int(rate)
    assert SECRET not in json.dumps(items)


def test_an_address_has_no_link_to_a_new_password() -> None:
    token = "d1zxg7-0123456789abcdef0123456789abcdef"
    event = {"request": {"method": "GET", "url": f"https://example.org/password/reset/MQ/{token}/?page={SECRET}"}}
    address = "https://example.org/password/reset/MQ/[removed]/"
    assert scrub(event, {})["request"] == {"method": "GET", "url": address}


def test_a_dsn_without_the_package_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "sentry_sdk.py").write_text("raise ModuleNotFoundError('none', name='sentry_sdk')\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "SENTRY_DSN": "https://key@sentry.example.org/1"}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "sentry_sdk is missing: pip install -r requirements-sentry.txt -c constraints.txt" in done.stderr
