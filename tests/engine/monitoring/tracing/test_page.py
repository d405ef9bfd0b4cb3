"""docs/tracing.md is true: its commands run, and its variables, spans and attributes are there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

from opentelemetry import environment_variables as api
from opentelemetry.sdk import environment_variables as sdk
from websockets.asyncio.client import connect

from realtime.engine.testing import PROJECT_ROOT, ServerProcess

PAGE = (PROJECT_ROOT / "docs/tracing.md").read_text()
COMMANDS = re.findall(r"^\$ (.*)$", PAGE, re.MULTILINE)
SPANS = (PROJECT_ROOT / "realtime/engine/monitoring/tracing/spans.py").read_text()


def first_cells(heading: str) -> set[str]:
    """The code in the first cells of the table with this first heading."""
    table = PAGE.split(f"\n| {heading} |", 1)[1].split("\n\n", 1)[0]
    cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def command_with(part: str) -> list[str]:
    [found] = [command for command in COMMANDS if part in command]
    return shlex.split(found)


def test_the_requirements_install_as_it_is_printed() -> None:
    program, *arguments = command_with(" pip install ")
    assert program == ".venv/bin/python"
    command = [sys.executable, *arguments, "--quiet", "--dry-run"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr  # the tests have them already, in these versions


async def test_make_run_prints_spans_as_it_says() -> None:
    setting, *command = command_with(" make run")
    name, _, value = setting.partition("=")
    assert command == ["make", "run"]
    with ServerProcess(ServerProcess.RUNSERVER, env={name: value}) as server:
        async with connect(server.ws("/ws")):
            pass
        server.stop()
        assert '"name": "GET /ws"' in server.log


def test_the_image_takes_the_argument_as_it_is_printed() -> None:
    command = command_with("docker build ")
    name, _, value = command[command.index("--build-arg") + 1].partition("=")
    dockerfile = (PROJECT_ROOT / "docker/Dockerfile").read_text()
    assert re.search(rf"^ARG {name}=requirements.txt$", dockerfile, re.MULTILINE)
    assert re.search(rf"^COPY .*\b{value} ", dockerfile, re.MULTILINE)
    assert f'-r "${name}"' in dockerfile


def test_every_variable_is_one_of_opentelemetry() -> None:
    named = first_cells("variable")
    assert "OTEL_TRACES_EXPORTER" in named
    assert named - {*vars(api), *vars(sdk)} == set()


def test_every_attribute_is_listed_and_set() -> None:
    listed = first_cells("attribute")
    made = set(re.findall(r'"((?:[a-z_]+\.)+[a-z_]+)"', SPANS))
    ends = {f"{end}.{part}" for end in ("client", "server") for part in ("address", "port")}
    events = {"websocket.connect", "websocket.receive", "websocket.accept", "websocket.close"}
    events |= {"websocket.http.response.start", "exception.message", "exception.stacktrace"}
    assert listed == (made | ends) - events
