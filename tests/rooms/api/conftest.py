"""Servers on both databases, and a client that sends what no library would send."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from realtime.engine.testing import ServerProcess, credentials

TIMEOUT = 30

#: What a page of the site would send.
CSRF = {"Cookie": "csrftoken=" + "x" * 32, "X-CSRFToken": "x" * 32}


@dataclass
class Answer:
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> Any:
        """The body of an error, which has to be a problem (RFC 9457)."""
        assert self.headers["content-type"] == "application/problem+json", (self.status, self.body[:300])
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        assert problem["title"]
        assert isinstance(problem["detail"], str)
        return problem


@dataclass
class Api:
    """A client of one server.

    Args:
        server: the server.
        headers: of every request.
    """

    server: ServerProcess
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send a request; ``user_agent="x"`` is a header."""
        sent = {"Content-Type": "application/json", **CSRF, **self.headers}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=TIMEOUT)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            names = {name.lower(): ", ".join(response.msg.get_all(name, [])) for name in response.msg}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def send(self, method: str, path: str, /, **data: Any) -> Answer:
        """Send JSON."""
        return self.request(method, path, json.dumps(data).encode())

    def log_in(self, name: str, password: str) -> Api:
        """Return a client with that user's access token."""
        answer = self.send("POST", "/api/token/", **credentials(name, password))
        assert answer.status == 200, answer
        return Api(self.server, {"Authorization": f"Bearer {json.loads(answer.body)['access']}"})


@pytest.fixture(scope="session")
def database_urls(
    request: pytest.FixtureRequest, database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """Return the address of a database with the demo users, ``"sqlite"`` or ``"postgresql"``, new each time."""

    def make(kind: str) -> str:
        if kind == "postgresql":
            return str(request.getfixturevalue("new_postgresql_database")())
        copy = tmp_path_factory.mktemp("api") / "db.sqlite3"
        copy.write_bytes(database.read_bytes())
        return f"sqlite:///{copy}"

    return make


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def api_server(request: pytest.FixtureRequest, database_urls: Callable[[str], str]) -> Iterator[ServerProcess]:
    """The project on Daphne, on each database; new for each module, because requests of one user are limited."""
    # No limit on attempts: these tests make thousands of bad ones.
    environment = {"DATABASE_URL": database_urls(request.param), "REALTIME_AUTH_FAILURES_PER_MINUTE": "0"}
    with ServerProcess(env=environment) as server:
        yield server


@pytest.fixture
def anonymous(api_server: ServerProcess) -> Api:
    """A client that is not signed in."""
    return Api(api_server)


@pytest.fixture(scope="module")
def admin(api_server: ServerProcess, password: str) -> Api:
    """A client of the user ``admin``."""
    return Api(api_server).log_in("admin", password)


@pytest.fixture(scope="session")
def new_api() -> type[Api]:
    """Make a client of a server: ``new_api(server)``."""
    return Api
