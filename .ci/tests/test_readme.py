"""The README is true: its tables match the code, and its endpoint runs as it is printed."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import shutil
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from realtime.engine import SocketPolicy
from realtime.engine.testing import PROJECT_ROOT, ServerProcess
from realtime.routing import websocket_urlpatterns

README = (PROJECT_ROOT / "README.md").read_text()
ENDPOINTS = (PROJECT_ROOT / "docs/endpoints.md").read_text()
POLICIES = (PROJECT_ROOT / "docs/policies.md").read_text()


def code(path: str) -> str:
    """The code block of the README that begins with the name of this file."""
    match = re.search(rf"```python\n# {re.escape(path)}\n(.*?)```", README, re.DOTALL)
    assert match, path
    return match[1]


def test_the_two_commands_come_first() -> None:
    commands = re.findall(r"^\$ (.*)$", README, re.MULTILINE)
    assert commands[:2] == ["make run", "make test"]


def test_it_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) < 120


def test_the_endpoint_table_lists_every_route() -> None:
    listed = re.findall(r"^\| `(/ws[^`]*)`", ENDPOINTS, re.MULTILINE)
    routes = {"/" + str(pattern.pattern) for pattern in websocket_urlpatterns}
    assert {re.sub(r"<\w+:(\w+)>", r"<\1>", route) for route in routes} == set(listed)


def test_the_policy_table_lists_every_field() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", POLICIES.split("## All fields")[1].split("\n## ")[0], re.MULTILINE)
    assert sorted(listed) == sorted(field.name for field in dataclasses.fields(SocketPolicy))


def test_every_file_that_it_links_to_exists() -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (PROJECT_ROOT / target).exists()] == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project with the README's endpoint added."""
    for name in ("project", "realtime", "templates", "static"):
        shutil.copytree(PROJECT_ROOT / name, tmp_path / name)
    shutil.copy(PROJECT_ROOT / "manage.py", tmp_path)
    (tmp_path / "realtime/endpoints/shout.py").write_text(code("realtime/endpoints/shout.py"))
    routing = tmp_path / "realtime/routing.py"
    source = routing.read_text()
    source = source.replace("websocket_urlpatterns = [\n", "websocket_urlpatterns = [\n" + code("realtime/routing.py"))
    routing.write_text("from realtime.endpoints.shout import ShoutConsumer\n" + source)
    return tmp_path


async def test_the_endpoint_of_the_readme_answers(copy: Path) -> None:
    environment = {"PYTHONPATH": str(copy), "DJANGO_SETTINGS_MODULE": "project.settings"}
    with ServerProcess(cwd=copy, env=environment) as server:
        async with connect(server.ws("/ws/shout")) as client:
            await client.send("hello")
            assert await asyncio.wait_for(client.recv(), 10) == "HELLO"
