"""A service that is away is a 503 with ``Retry-After``; what does not need it goes on."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from realtime.engine.testing import PostgresProcess, RedisProcess, ServerProcess, credentials

PASSWORD_LIMIT = 5


@pytest.fixture
def serve(database_urls: Callable[[str], str], new_api: Any) -> Iterator[Callable[..., Any]]:
    """Start the project on a database: ``client = serve("sqlite")``."""
    servers = []

    def start(kind: str, **environment: str) -> Any:
        server = ServerProcess(env={"DATABASE_URL": database_urls(kind), **environment})
        servers.append(server.__enter__())
        return new_api(server)

    yield start
    for server in servers:
        server.__exit__(None, None, None)


def assert_is_unavailable(answer: Any) -> None:
    assert (answer.status, answer.headers.get("retry-after")) == (503, "5")
    if answer.headers["content-type"] != "text/html; charset=utf-8":
        assert answer.problem["title"] == "Service Unavailable"


def test_the_api_goes_on_without_redis(serve: Any, redis_server: RedisProcess, password: str) -> None:
    client = serve("sqlite", REDIS_URL=redis_server.url)
    redis_server.kill()
    ann = client.log_in("ann", password)
    room = uuid.uuid4().hex
    assert ann.send("POST", "/api/rooms/", room=room).status == 201
    assert ann.request("GET", "/api/rooms/").status == 200
    assert ann.send("POST", f"/api/rooms/{room}/messages/", content="hi").status == 201
    assert ann.request("POST", "/api/ws-ticket/").status == 200
    assert ann.request("POST", "/api/logout-everywhere/").status == 204
    assert client.request("GET", "/login/").status == 200


def test_limits_hold_in_each_process_without_redis_and_in_all_with_it(serve: Any, redis_server: RedisProcess) -> None:
    client = serve("sqlite", REDIS_URL=redis_server.url, REALTIME_AUTH_FAILURES_PER_MINUTE=str(PASSWORD_LIMIT))
    redis_server.kill()
    statuses = [
        client.send("POST", "/api/token/", **credentials(f"user-{number}", "wrong")).status
        for number in range(PASSWORD_LIMIT + 1)
    ]
    assert statuses == [401] * PASSWORD_LIMIT + [429]


def refuse_connections(server: PostgresProcess, database: str, *, refuse: bool) -> None:
    """Let a database take no connection, as when they are used up."""
    with psycopg.connect(host="127.0.0.1", port=server.port, user="postgres", autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS {not refuse}")
        if refuse:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])


def test_a_database_that_takes_no_connection_is_503(
    serve: Any, postgresql_server: PostgresProcess, password: str
) -> None:
    client = serve("postgresql")
    database = client.server._env["DATABASE_URL"].rpartition("/")[2]
    ann = client.log_in("ann", password)
    refuse_connections(postgresql_server, database, refuse=True)
    try:
        assert_is_unavailable(ann.request("GET", "/api/rooms/"))
        assert_is_unavailable(ann.request("POST", "/api/ws-ticket/"))
        assert_is_unavailable(client.send("POST", "/api/token/", **credentials("ann", password)))
        assert_is_unavailable(client.request("GET", "/rooms/"))
        assert client.request("GET", "/").status == 200
        assert client.request("GET", "/login/").status == 200
        assert client.request("GET", "/readyz").status == 503
    finally:
        refuse_connections(postgresql_server, database, refuse=False)
    assert ann.request("GET", "/api/rooms/").status == 200
    assert client.request("GET", "/readyz").status == 200


def test_with_a_read_only_database_writes_are_503_and_the_process_is_not_ready(
    serve: Any, postgresql_server: PostgresProcess, password: str
) -> None:
    client = serve("postgresql")
    database = client.server._env["DATABASE_URL"].rpartition("/")[2]
    ann = client.log_in("ann", password)
    with psycopg.connect(host="127.0.0.1", port=postgresql_server.port, user="postgres", autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    assert ann.request("GET", "/api/rooms/").status == 200
    assert_is_unavailable(ann.send("POST", "/api/rooms/", room=uuid.uuid4().hex))
    assert client.request("GET", "/readyz").status == 503


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", directory], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode()}")
    yield directory
    subprocess.run(["umount", "--lazy", directory], check=True)


def fill_disk(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_on_a_full_disk_writes_are_503_and_the_process_is_not_ready(
    small_disk: Path, database: Path, new_api: Any, password: str
) -> None:
    (small_disk / "db.sqlite3").write_bytes(database.read_bytes())
    with ServerProcess(database=small_disk / "db.sqlite3") as server:
        client = new_api(server)
        assert client.request("GET", "/readyz").status == 200
        ann = client.log_in("ann", password)
        fill = small_disk / "fill"
        with pytest.raises(OSError, match="No space left"):
            fill_disk(fill)
        # The write-ahead log has some room of its own.
        answers = [ann.send("POST", "/api/rooms/", room=uuid.uuid4().hex) for _ in range(20)]
        assert {answer.status for answer in answers} <= {201, 503}
        assert_is_unavailable(answers[-1])
        assert client.request("GET", "/readyz").status == 503
        # SQLite may need room for its shared memory even to read: 200, or 503.
        assert ann.request("GET", "/api/rooms/").status in (200, 503)
        fill.unlink()
        assert client.request("GET", "/readyz").status == 200
        assert ann.send("POST", "/api/rooms/", room=uuid.uuid4().hex).status == 201
