"""The tests that use Django's test database, once more on PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from realtime.engine.testing import PROJECT_ROOT, PostgresProcess

PATHS = [
    "tests/engine/connections",
    "tests/engine/topics/test_presence.py",
    "tests/engine/topics/test_stores.py",
    "tests/rooms/test_access_version.py",
    "tests/rooms/test_admin.py",
    "tests/rooms/test_store.py",
]


@pytest.mark.soak
@pytest.mark.timeout(600)  # it runs whole test files
def test_what_holds_on_sqlite_holds_on_postgresql(postgresql_server: PostgresProcess) -> None:
    environment = {**os.environ, "DATABASE_URL": postgresql_server.create_database()}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *PATHS]
    result = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
