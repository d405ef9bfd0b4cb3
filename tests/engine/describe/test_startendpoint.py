"""``manage.py startendpoint NAME`` in a copy of the project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from realtime.engine.describe.scaffold import add_route, check_name, consumer_source
from realtime.engine.testing.server import PROJECT_ROOT

ROUTING = (PROJECT_ROOT / "realtime/routing.py").read_text()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project without its tests, but for their fixtures."""
    for name in ("project", "realtime", "templates", "static"):
        shutil.copytree(PROJECT_ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    for name in ("manage.py", "pyproject.toml", "tests/conftest.py"):
        shutil.copy(PROJECT_ROOT / name, tmp_path / name)
    return tmp_path


def run(copy: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(copy), "DATABASE_URL": f"sqlite:///{copy / 'db.sqlite3'}"}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        environment.pop(name, None)
    return subprocess.run([sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True)


@pytest.mark.soak
def test_the_new_endpoint_passes_its_tests_and_the_linters_as_it_is(copy):
    made = run(copy, "manage.py", "startendpoint", "stock_ticker")
    assert made.returncode == 0, made.stderr
    tested = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_stock_ticker.py")
    assert tested.returncode == 0, tested.stdout[-3000:]
    assert "3 passed" in tested.stdout
    files = ["realtime/endpoints/stock_ticker.py", "realtime/routing.py", "tests/test_stock_ticker.py"]
    for check in (["check"], ["format", "--check"]):
        linted = run(copy, "-m", "ruff", *check, *files)
        assert linted.returncode == 0, linted.stdout
    checked = run(copy, "manage.py", "check")
    assert checked.returncode == 0, checked.stderr


def test_an_endpoint_that_exists_is_not_overwritten(copy):
    before = (copy / "realtime/endpoints/echo.py").read_text()
    made = run(copy, "manage.py", "startendpoint", "echo")
    assert made.returncode == 1
    assert "exists already" in made.stderr
    assert (copy / "realtime/endpoints/echo.py").read_text() == before
    assert (copy / "realtime/routing.py").read_text() == ROUTING


@pytest.mark.parametrize("name", ["shout", "stock_ticker", "v2"])
def test_words_in_lower_case_are_a_name(name):
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "Shout", "stock-ticker", "2fast", "_private", "a__b", "class", "../x", "ünï"])
def test_anything_else_is_not(name):
    with pytest.raises(ValueError, match="lower case"):
        check_name(name)


@pytest.mark.parametrize("name", ["aardvark", "messenger", "zebra"])
def test_the_route_comes_last_and_the_import_in_order(name):
    changed = add_route(ROUTING, name)
    added = [line for line in changed.splitlines() if line not in ROUTING.splitlines()]
    assert [line.strip() for line in added] == [
        f"from realtime.endpoints.{name} import {name.capitalize()}Consumer",
        f'path("ws/{name}", {name.capitalize()}Consumer.as_asgi(), name="ws-{name}"),',
    ]
    imports = [line for line in changed.splitlines() if line.startswith("from realtime.endpoints")]
    assert imports == sorted(imports)
    assert changed.index(added[1]) > changed.index("ws-any-protocol")


def test_a_route_that_exists_is_said_to():
    with pytest.raises(ValueError, match="ws/any-protocol already"):
        add_route(ROUTING, "any_protocol")


def test_a_routing_file_without_the_list_is_said_to_be_one():
    with pytest.raises(ValueError, match="websocket_urlpatterns"):
        add_route("urlpatterns = []\n", "shout")


def test_the_page_shows_what_the_command_writes(client):
    assert "class ShoutConsumer(PolicyConsumer):" in client.get("/").content.decode()
    assert consumer_source("shout").file == "realtime/endpoints/shout.py"
