"""The AsyncAPI and the OpenAPI document in the hands of their public parsers, linters and generators, from npm."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from realtime.engine.testing import PROJECT_ROOT

pytestmark = pytest.mark.soak

#: The packages, by their versions.
PACKAGES = Path(__file__).parent / "npm" / "package.json"

ASYNCAPI = PROJECT_ROOT / "docs" / "asyncapi.json"

#: Severities of a diagnostic, as the parser numbers them.
ERROR, WARNING = 0, 1

PARSE = """
import fs from "fs";
import { Parser } from "@asyncapi/parser";
const { document, diagnostics } = await new Parser().parse(fs.readFileSync(process.argv[1], "utf8"));
console.log(JSON.stringify({
  diagnostics: diagnostics.map(({ severity, code, message }) => [severity, code, message]),
  payloads: document.allMessages().all().map((message) => message.payload().id()),
  channels: document.allChannels().all().map((channel) => channel.id()),
  operations: document.allOperations().all().map((operation) => operation.id()),
  messages: document.allMessages().all().map((message) => message.name()),
}));
"""

GENERATE = """
import fs from "fs";
import modelina from "@asyncapi/modelina";
const generator = new modelina[process.argv[2]]();
const models = await generator.generate(JSON.parse(fs.readFileSync(process.argv[1], "utf8")));
console.log(JSON.stringify(models.map(({ modelName }) => modelName)));
"""


@pytest.fixture(scope="module")
def tools() -> Path:
    """The directory with the installed packages, which is kept for the next run."""
    refuse = pytest.fail if "CI" in os.environ else pytest.skip
    if shutil.which("npm") is None:
        refuse("npm is not installed")
    directory = PROJECT_ROOT / ".cache" / f"npm-{hashlib.sha256(PACKAGES.read_bytes()).hexdigest()[:16]}"
    if not directory.is_dir():
        problem = install(directory)
        if problem:
            refuse(f"{PACKAGES.name} cannot be installed from npm: {problem[-300:]}")
    return directory


def install(directory: Path) -> str:
    """Install the packages beside their place and move them there whole; return what went wrong, or nothing."""
    directory.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as name:
        new = Path(name) / "packages"
        new.mkdir()
        shutil.copy(PACKAGES, new)
        command = ["npm", "install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]
        installed = subprocess.run(command, cwd=new, capture_output=True, text=True)
        if installed.returncode:
            return installed.stdout + installed.stderr or "npm install failed"
        try:
            new.rename(directory)
        except OSError:
            if not directory.is_dir():  # another process may have been first
                raise
    return ""


@pytest.fixture
def run(tools: Path) -> Callable[..., Any]:
    """Runs a script of JavaScript on some arguments and returns the JSON that it prints."""

    def run_script(script: str, *arguments: str) -> Any:
        command = ["node", "--input-type=module", "--eval", script, *arguments]
        done = subprocess.run(command, cwd=tools, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run_script


@pytest.fixture
def typed_document(tmp_path: Path) -> Path:
    """The document of the endpoints of the conformance script, of which one has ``@on_message``."""
    path = tmp_path / "asyncapi.json"
    folder = Path(__file__).parent / "clients"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "conformance_settings", "PYTHONPATH": str(folder)}
    command = [sys.executable, "manage.py", "asyncapi", "--output", str(path)]
    subprocess.run(command, cwd=PROJECT_ROOT, env=environment, check=True, capture_output=True)
    return path


def test_a_document_with_typed_endpoints_is_read_and_makes_types(run: Callable[..., Any], typed_document: Path) -> None:
    parsed = run(PARSE, str(typed_document))
    assert [entry for entry in parsed["diagnostics"] if entry[0] in (ERROR, WARNING)] == []
    assert {"receiveWsPollVote", "receiveWsPollAnnounce", "sendWsPoll"} <= set(parsed["operations"])
    models = run(GENERATE, str(typed_document), "TypeScriptGenerator")
    assert {"Vote", "Tally", "News", "MessageAck", "MessageError"} <= set(models)
    assert not [name for name in models if "Anonymous" in name or "Minus" in name]


def test_the_parser_has_no_complaint_and_finds_a_name_for_everything(run: Callable[..., Any]) -> None:
    parsed = run(PARSE, str(ASYNCAPI))
    assert [entry for entry in parsed["diagnostics"] if entry[0] in (ERROR, WARNING)] == []
    assert not [name for name in parsed["payloads"] if "anonymous" in name]
    names = parsed["channels"] + parsed["operations"] + parsed["messages"]
    assert "wsAdminLive" in names
    assert not [name for name in names if not name.isalnum()]


@pytest.mark.parametrize("generator", ["TypeScriptGenerator", "PythonGenerator", "JavaGenerator"])
def test_a_generator_makes_types_with_names_that_people_would_give(run: Callable[..., Any], generator: str) -> None:
    models = run(GENERATE, str(ASYNCAPI), generator)
    assert {"Joined", "ErrorCode", "PresenceState"} <= set(models)
    assert not [name for name in models if "Anonymous" in name or "Minus" in name]


def test_the_openapi_document_has_no_problem_for_the_linter(tools: Path, tmp_path: Path) -> None:
    schema = tmp_path / "openapi.yaml"
    call_command("spectacular", "--file", str(schema), "--validate", "--fail-on-warn")
    configuration = str(PROJECT_ROOT / "redocly.yaml")
    command = ["npx", "--no-install", "redocly", "lint", "--config", configuration, "--format", "json", str(schema)]
    environment = {**os.environ, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    linted = subprocess.run(command, cwd=tools, env=environment, capture_output=True, text=True)
    problems = json.loads(linted.stdout)["problems"]
    assert [(problem["ruleId"], problem["message"]) for problem in problems] == []
    assert linted.returncode == 0
