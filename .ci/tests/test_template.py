"""The checkout as a Django project template: ``django-admin startproject --template``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from realtime import engine
from realtime.engine.testing import PROJECT_ROOT

#: What Django's template engine would take for its own in a Python file.
TEMPLATE_SYNTAX = re.compile(r"\{[\x7b%#]")

#: Enough to show that the copy is whole: its own server, wire, consumers and checks.
SAMPLE = ["tests/test_policy.py", "tests/engine/handshake/test_checks.py", "tests/endpoints/test_endpoints.py"]


def python_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        return sorted(path for path in PROJECT_ROOT.rglob("*.py") if ".venv" not in str(path))
    return [PROJECT_ROOT / name for name in listed.stdout.splitlines()]


def test_no_python_file_holds_what_the_template_engine_would_render() -> None:
    lines = [
        f"{path.relative_to(PROJECT_ROOT)}:{number}: {line.strip()}"
        for path in python_files()
        if path.is_file() and path != PROJECT_ROOT / "project/name.py"  # startproject writes the name there
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if TEMPLATE_SYNTAX.search(line)
    ]
    assert lines == []


def test_the_project_has_the_version_of_its_engine() -> None:
    pyproject = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())
    changelog = (PROJECT_ROOT / "CHANGELOG.md").read_text()
    assert pyproject["project"]["version"] == engine.__version__
    assert re.search(r"^## (\S+)", changelog, re.MULTILINE)[1] == engine.__version__


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project made from this checkout."""
    parent = tmp_path_factory.mktemp("startproject")
    subprocess.run(
        [sys.executable, "-m", "django", "startproject", "--template", str(PROJECT_ROOT), "mysite"],
        cwd=parent,
        env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        check=True,
    )
    return parent / "mysite"


def run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{copy / 'test.sqlite3'}"}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        environment.pop(name, None)
    return subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True, timeout=500
    )


@pytest.mark.parametrize(
    "command", [["check"], ["makemigrations", "--check", "--dry-run"], ["migrate", "--verbosity", "0"]]
)
def test_the_copy_checks_and_migrates(copy: Path, command: list[str]) -> None:
    result = run(copy, "manage.py", *command)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_an_endpoint_by_the_command_of_the_readme_passes_its_tests_and_breaks_none(copy: Path) -> None:
    assert not (copy / ".ci").exists()
    made = run(copy, "manage.py", "startendpoint", "shout")
    assert made.returncode == 0, made.stderr
    result = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_shout.py", "tests/console", *SAMPLE)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_the_tests_of_the_engine_need_no_fixture_of_the_owner(copy: Path) -> None:
    alone = ["tests/engine", "--confcutdir=tests/engine", "--setup-plan", "-m", "soak or not soak"]
    result = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", *alone)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
