"""``manage.py startendpoint NAME`` in a copy of the project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.urls import path

from realtime.engine.describe import scaffold
from realtime.engine.describe.asyncapi import asyncapi_document
from realtime.engine.describe.endpoints import describe_endpoints
from realtime.engine.describe.scaffold import add_route, check_name, consumer_source
from realtime.engine.testing import PROJECT_ROOT

ROUTING = """\
from django.urls import path

from realtime.endpoints.any_protocol import AnyProtocolConsumer
from realtime.endpoints.messages import MessagesConsumer

websocket_urlpatterns = [
    path("ws/messages", MessagesConsumer.as_asgi(), name="ws-messages"),
    path("ws/any-protocol", AnyProtocolConsumer.as_asgi(), name="ws-any-protocol"),
]
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project without its tests, but for their fixtures and settings."""
    for name in ("project", "realtime", "templates", "static"):
        shutil.copytree(PROJECT_ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    for name in ("manage.py", "pyproject.toml", "tests/conftest.py", "tests/settings.py"):
        shutil.copy(PROJECT_ROOT / name, tmp_path / name)
    return tmp_path


def run(copy: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(copy), "DATABASE_URL": f"sqlite:///{copy / 'db.sqlite3'}"}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS", "DJANGO_SETTINGS_MODULE"):
        environment.pop(name, None)
    return subprocess.run([sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True)


@pytest.mark.soak
def test_the_new_endpoint_passes_its_tests_and_the_linters_as_it_is(copy):
    made = run(copy, "manage.py", "startendpoint", "stock_ticker")
    assert made.returncode == 0, made.stderr
    tested = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_stock_ticker.py")
    assert tested.returncode == 0, tested.stdout[-3000:]
    assert "1 passed" in tested.stdout
    files = ["realtime/endpoints/stock_ticker.py", "realtime/routing.py", "tests/test_stock_ticker.py"]
    for check in (["check"], ["format", "--check"]):
        linted = run(copy, "-m", "ruff", *check, *files)
        assert linted.returncode == 0, linted.stdout
    checked = run(copy, "manage.py", "check")
    assert checked.returncode == 0, checked.stderr


@pytest.fixture
def project(tmp_path: Path, settings) -> Path:
    """A project that has routes and one endpoint without a route, ``echo``."""
    settings.BASE_DIR = tmp_path
    (tmp_path / "realtime/endpoints").mkdir(parents=True)
    (tmp_path / "tests").mkdir()
    (tmp_path / "realtime/routing.py").write_text(ROUTING)
    (tmp_path / "realtime/endpoints/echo.py").write_text("# mine\n")
    return tmp_path


def test_an_endpoint_that_exists_is_not_overwritten(project):
    with pytest.raises(CommandError, match="exists already"):
        call_command("startendpoint", "echo")
    assert (project / "realtime/endpoints/echo.py").read_text() == "# mine\n"
    assert (project / "realtime/routing.py").read_text() == ROUTING


def test_the_command_writes_the_consumer_its_route_and_its_tests(project, capsys):
    call_command("startendpoint", "stock_ticker")
    assert (project / "realtime/endpoints/stock_ticker.py").read_text() == consumer_source("stock_ticker").text
    assert "StockTickerConsumer" in (project / "tests/test_stock_ticker.py").read_text()
    assert (project / "realtime/routing.py").read_text() == add_route(ROUTING, "stock_ticker")


def test_an_endpoint_with_its_messages_and_tests_is_under_forty_lines():
    sources = [source("stock_ticker").text for source in (consumer_source, scaffold.tests_source)]
    lines = [line for source in sources for line in source.splitlines()]
    assert len(lines) < 40
    assert max(map(len, lines)) <= 100


def test_two_new_endpoints_are_described_each_with_its_messages():
    """Both have a ``Say``; in the console the first message that is tried is the example of its field."""
    routes = []
    for name in ("stock_ticker", "shout"):
        module = types.ModuleType(f"endpoint_{name}")
        exec(compile(consumer_source(name).text, name, "exec", dont_inherit=True), vars(module))
        consumer = next(value for key, value in vars(module).items() if key.endswith("Consumer") and key[0] != "P")
        routes.append(path(f"ws/{name}", consumer.as_asgi()))
    first, second = describe_endpoints(routes)
    assert first.received[0].text == second.received[0].text == '{"type": "Say", "text": "hello", "ref": "1"}'
    assert [message.name for message in second.received + second.sent] == ["Say", "MessageError", "Said"]
    document = asyncapi_document([first, second], host="testserver", protocol="ws")
    names = {"EndpointStockTickerSay", "EndpointStockTickerSaid", "EndpointShoutSay", "EndpointShoutSaid"}
    assert names <= document["components"]["messages"].keys()


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
