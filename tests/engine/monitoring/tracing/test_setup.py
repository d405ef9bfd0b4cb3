"""What turns tracing on: each case in a process of its own, as a provider is set once for all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from realtime.engine.testing import PROJECT_ROOT, ServerProcess
from realtime.engine.testing.client import open_socket

#: Says what a process of the project has decided.
ASK = """
import sys
import project.asgi
from realtime.engine.monitoring.tracing import TRACING
router = project.asgi.application.application_mapping["websocket"]
print(type(TRACING.tracer).__name__, type(router).__name__, "realtime.engine.monitoring.tracing.spans" in sys.modules)
"""

#: The project's own code may set a provider before Django is set up.
SET_PROVIDER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())
"""

OFF = ["NoneType", "SocketRouter", "False"]
ON = ["OpenTelemetryTracer", "function", "True"]


def ask(source: str = ASK, **environment: str) -> tuple[list[str], str]:
    """Return what ``ASK`` prints, and what was logged."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=PROJECT_ROOT, env=inherited | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


@pytest.fixture
def without_opentelemetry(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing of OpenTelemetry can be imported."""
    (tmp_path / "opentelemetry.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'opentelemetry'\", name='opentelemetry')\n"
    )
    return {"PYTHONPATH": str(tmp_path)}


@pytest.mark.parametrize(
    "environment",
    [{}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}],
    ids=["nothing", "none", "disabled"],
)
def test_nothing_is_traced_unless_it_is_asked_for(environment: dict[str, str]) -> None:
    assert ask(**environment) == (OFF, "")


@pytest.mark.parametrize("exporter", ["none,otlp", "otlp_proto_http"])
def test_the_environment_turns_tracing_on(exporter: str) -> None:
    assert ask(OTEL_TRACES_EXPORTER=exporter) == (ON, "")


def test_a_provider_that_is_there_already_turns_tracing_on() -> None:
    assert ask(SET_PROVIDER + ASK) == (ON, "")


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "No exporter 'zipkin' for OTEL_TRACES_EXPORTER is installed"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "No exporter 'otlp_proto_grpc'"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "pigeon"}, "No exporter 'otlp by pigeon'"),
    ],
)
def test_an_exporter_that_is_not_there_is_a_warning(environment: dict[str, str], complaint: str) -> None:
    said, log = ask(**environment)
    assert said[:2] == OFF[:2]
    assert complaint in log


def test_without_the_package_a_wish_for_traces_is_a_warning(without_opentelemetry: dict[str, str]) -> None:
    said, log = ask(OTEL_TRACES_EXPORTER="otlp", **without_opentelemetry)
    assert said == OFF
    assert "pip install -r requirements-tracing.txt" in log


async def test_without_the_package_everything_else_works(without_opentelemetry: dict[str, str]) -> None:
    with ServerProcess(env={**without_opentelemetry, "OTEL_TRACES_EXPORTER": "otlp"}) as server:
        async with (
            await open_socket(server.ws("/ws/chat")) as author,
            await open_socket(server.ws("/ws/chat")) as reader,
        ):
            await author.send("hello")
            assert await reader.receive() == "<User#1>: hello"
        server.stop()
        assert server.log.count("requirements-tracing.txt") == 1
        assert "Traceback" not in server.log


def test_spans_are_printed_by_the_console_exporter() -> None:
    source = """
import asyncio
import project.asgi
async def main():
    scope = {"type": "websocket", "path": "/ws/nowhere", "query_string": b"", "headers": [], "extensions": {}}
    async def receive():
        return {"type": "websocket.connect"}
    async def send(event):
        pass
    await project.asgi.application(scope, receive, send)
asyncio.run(main())
"""
    inherited = os.environ | {"OTEL_TRACES_EXPORTER": "console", "OTEL_SERVICE_NAME": "mysite"}
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=PROJECT_ROOT, env=inherited, capture_output=True, text=True, check=True
    )
    assert '"service.name": "mysite"' in done.stdout
    assert '"url.path": "/ws/nowhere"' in done.stdout
