"""docs/removing.md: a project without the console, and one without the rooms, is whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from realtime.engine.testing.server import PROJECT_ROOT

#: Tests that need neither part.
TESTS = ["tests/test_policy.py", "tests/engine/test_checks.py", "tests/engine/describe"]

#: A part, and the tests of what stays. Tests that start a server need the command ``demo`` of the rooms.
REMOVALS = {
    "The console": [*TESTS, "tests/endpoints", "tests/rooms/test_pages.py"],
    "The rooms": TESTS,
}


def commands(heading: str) -> str:
    """Return the commands below a heading of the page."""
    page = (PROJECT_ROOT / "docs" / "removing.md").read_text()
    found = re.search(rf"^## {heading}\n.*?^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def run(project: Path, *arguments: str) -> str:
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{project / 'test.sqlite3'}"}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        environment.pop(name, None)
    result = subprocess.run([sys.executable, *arguments], cwd=project, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
    return result.stdout


@pytest.mark.parametrize("part", REMOVALS)
def test_a_project_without_the_part_checks_and_passes_its_tests(part: str, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "django", "startproject", "--template", str(PROJECT_ROOT), "mysite"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        check=True,
    )
    project = tmp_path / "mysite"
    subprocess.run(["sh", "-euc", commands(part)], cwd=project, check=True)
    run(project, "manage.py", "check")
    run(project, "manage.py", "makemigrations", "--check", "--dry-run")
    report = run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", *REMOVALS[part])
    assert re.search(r"\d+ passed", report)
