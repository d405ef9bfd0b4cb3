"""``/readyz`` of a real server whose PostgreSQL or Redis hangs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect

from realtime.engine.monitoring.health import CHECK_TIMEOUT
from realtime.engine.testing import PROJECT_ROOT, PostgresProcess, RedisProcess, ServerProcess

#: What an operator's monitor is promised, in seconds.
PROMISE = 2.0


@pytest.fixture(scope="module")
def database_url(postgresql_server: PostgresProcess) -> str:
    """A migrated database: a process without its tables is not ready."""
    url = postgresql_server.create_database()
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=PROJECT_ROOT,
        env={**os.environ, "DATABASE_URL": url},
        check=True,
    )
    return url


@pytest.fixture
def server(database_url: str, redis_server: RedisProcess) -> Iterator[ServerProcess]:
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_server.url}
    with ServerProcess(env=environment) as process:
        yield process


def ask(server: ServerProcess, path: str = "/readyz") -> tuple[int, Any]:
    """Return status and body of an answer."""
    try:
        with urllib.request.urlopen(server.http(path), timeout=10) as response:
            status, body = response.status, response.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    return status, json.loads(body) if path == "/readyz" else body


def until(server: ServerProcess, wanted: int) -> Any:
    """Ask until the status is the wanted one; the test's own time limit ends it."""
    while True:
        status, report = ask(server)
        if status == wanted:
            return report


@pytest.mark.parametrize("service", ["database", "channel_layer"])
def test_a_hung_service_makes_the_process_unready_until_it_is_back(
    server: ServerProcess, postgresql_server: PostgresProcess, redis_server: RedisProcess, service: str
) -> None:
    assert CHECK_TIMEOUT < PROMISE
    until(server, 200)
    hung = postgresql_server if service == "database" else redis_server
    hung.pause()
    try:
        for _ in range(3):
            status, report = ask(server)
            assert (status, report["checks"][service]["ok"]) == (503, False)
        assert [name for name, check in report["checks"].items() if not check["ok"]] == [service]
        assert ask(server, "/healthz") == (200, b"ok\n")
    finally:
        hung.resume()
    until(server, 200)


async def test_a_hung_database_does_not_keep_other_connections_from_their_messages(
    server: ServerProcess, postgresql_server: PostgresProcess
) -> None:
    async with connect(server.ws("/ws")) as client:
        postgresql_server.pause()
        try:
            monitors = [asyncio.create_task(asyncio.to_thread(ask, server)) for _ in range(8)]
            await client.send("still there")
            assert await client.recv() == "still there"
            assert {status for status, _ in await asyncio.gather(*monitors)} == {503}
        finally:
            postgresql_server.resume()


def test_a_draining_process_says_so(server: ServerProcess) -> None:
    until(server, 200)

    async def drain() -> Any:
        async with connect(server.ws("/ws")), connect(server.ws("/ws")):
            server.process.send_signal(signal.SIGTERM)
            return await asyncio.to_thread(until, server, 503)

    report = asyncio.run(drain())
    assert report["checks"]["draining"]["ok"] is False
