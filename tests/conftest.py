"""Fixtures that more than one test file uses, beside those of ``realtime.engine.testing.fixtures``."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from realtime.engine.testing import ServerProcess, demo_database
from realtime.engine.testing.fixtures import *  # noqa: F403

#: Of both demo users, in every test database.
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database with the demo users ``admin`` and ``ann``; copied for each server."""
    return demo_database(PASSWORD)


@pytest.fixture(scope="session")
def server(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The project on Daphne, shared by every test that leaves it as it was."""
    copy = tmp_path_factory.mktemp("server") / "db.sqlite3"
    copy.write_bytes(database.read_bytes())
    with ServerProcess(database=copy) as process:
        yield process


@pytest.fixture(scope="session")
def password() -> str:
    """The password of both demo users."""
    return PASSWORD


@pytest.fixture(scope="session")
def npm_package(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Fetches a package of npm, ``npm_package("axe-core@4.14.1")``, and returns the directory of its files.

    Skips without npm or without its registry; fails instead where CI is set.
    """
    fetched: dict[str, Path] = {}

    def fetch(name: str) -> Path:
        refuse = pytest.fail if "CI" in os.environ else pytest.skip
        if shutil.which("npm") is None:
            refuse("npm is not installed")
        if name not in fetched:
            directory = tmp_path_factory.mktemp("npm")
            command = ["npm", "pack", "--silent", "--pack-destination", str(directory), name]
            packed = subprocess.run(command, cwd=directory, capture_output=True, text=True)
            if packed.returncode:
                refuse(f"{name} cannot be had from npm: {packed.stderr[-300:]}")
            [archive] = directory.glob("*.tgz")
            with tarfile.open(archive) as files:
                files.extractall(directory, filter="data")
            fetched[name] = directory / "package"
        return fetched[name]

    return fetch
