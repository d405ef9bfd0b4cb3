"""docs/removing.md: a project without the rooms is whole, and so is one of endpoints alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from realtime.engine.testing import PROJECT_ROOT

#: What is removed, one after the other from the same project, and tests of what stays; one server for each.
REMOVALS = {
    "The rooms": ["tests/endpoints", "tests/console/test_views.py", "tests/console/test_examples.py"],
    "The console": ["tests/endpoints", "tests/engine/describe"],
}
#: Of the endpoints' tests those that share a server.
SELECTION = "not chat and not heartbeat"

#: The project checks, its migrations are complete, and a login leads to a page.
CHECK = """
from django.conf import settings
from django.core.management import call_command
from django.test import Client
call_command("check")
call_command("makemigrations", check_changes=True, dry_run=True)
for url in (settings.LOGIN_REDIRECT_URL, "/login/", "/asyncapi.json", "/healthz"):
    answer = Client(headers={"host": "localhost"}).get(url)
    assert answer.status_code == 200, (url, answer.status_code)
"""


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


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_project_without_the_rooms_and_then_the_console_is_whole(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "django", "startproject", "--template", str(PROJECT_ROOT), "mysite"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        check=True,
    )
    project = tmp_path / "mysite"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for part, tests in REMOVALS.items():
        subprocess.run(["sh", "-euc", commands(part)], cwd=project, env={**os.environ, "PATH": path}, check=True)
        run(project, "manage.py", "shell", "--verbosity", "0", "--command", CHECK)
        run(project, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-logo'])")
        report = run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", SELECTION, *tests)
        assert re.search(r"\d+ passed", report)
