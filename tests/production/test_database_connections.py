"""How many connections to PostgreSQL a web process holds."""

from __future__ import annotations

import time
import urllib.request

from realtime.engine.testing import PostgresProcess, ServerProcess

REQUESTS = 40


def test_a_request_leaves_no_connection_behind(database_url: str, postgresql_server: PostgresProcess) -> None:
    others = len(postgresql_server.processes())
    with ServerProcess(env={"DATABASE_URL": database_url}) as server:
        for _ in range(REQUESTS):
            with urllib.request.urlopen(server.http("/api/rooms/"), timeout=30) as response:
                assert response.status == 200
        # The last one's connection is closed once the answer is sent; the test's own time limit ends this.
        while len(postgresql_server.processes()) > others:
            time.sleep(0.05)
