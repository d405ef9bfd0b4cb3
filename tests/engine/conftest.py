"""Lets every test of the engine meet the endpoints of ``tests/engine/routing.py``, and no data but two users."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import override_settings

from realtime.engine.testing import PROJECT_ROOT, RedisProcess, ServerProcess, migrated_database
from realtime.engine.testing.fixtures import *  # noqa: F403
from tests.engine.sentinel import SentinelProcess

#: What ``tests.engine.settings`` stands on, in this process and in every server: the settings that pytest was given.
os.environ.setdefault("PROJECT_SETTINGS_MODULE", os.environ["DJANGO_SETTINGS_MODULE"])

SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.engine.settings"}

CREATE_USERS = """
import os
from realtime.engine.testing import create_user
create_user("admin", os.environ["TEST_PASSWORD"], is_staff=True, is_superuser=True)
create_user("ann", os.environ["TEST_PASSWORD"])
"""


@pytest.fixture(scope="module", autouse=True)
def _endpoints_of_these_tests() -> Iterator[None]:
    """Name the settings for this process and for every server that a test starts."""
    from tests.engine import settings  # stands on the settings that are named above

    own = {"REALTIME_ROUTING": settings.REALTIME_ROUTING, "PASSWORD_HASHERS": settings.PASSWORD_HASHERS}
    with pytest.MonkeyPatch.context() as patch, override_settings(**own):
        patch.setenv("DJANGO_SETTINGS_MODULE", SETTINGS["DJANGO_SETTINGS_MODULE"])
        yield


@pytest.fixture(scope="session")
def password() -> str:
    """The password of both users."""
    return "correct horse battery staple"


@pytest.fixture(scope="session")
def database(password: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database with the users ``admin`` and ``ann``; copied for each server."""
    path = tmp_path_factory.mktemp("database") / "db.sqlite3"
    path.write_bytes(migrated_database().read_bytes())
    subprocess.run(
        [sys.executable, "manage.py", "shell", "-c", CREATE_USERS],
        cwd=PROJECT_ROOT,
        env={**os.environ, **SETTINGS, "DATABASE_URL": f"sqlite:///{path}", "TEST_PASSWORD": password},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return path


@pytest.fixture(scope="session")
def server(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The endpoints of these tests on Daphne, shared by every test that leaves the server as it was."""
    copy = tmp_path_factory.mktemp("server") / "db.sqlite3"
    copy.write_bytes(database.read_bytes())
    with ServerProcess(database=copy, env=SETTINGS) as process:
        yield process


@pytest.fixture
def sentinel(redis_server: RedisProcess, tmp_path: Path) -> Iterator[SentinelProcess]:
    """A Sentinel that names the test's own Redis."""
    sentinel = SentinelProcess(tmp_path, redis_server)
    yield sentinel
    sentinel.kill()
