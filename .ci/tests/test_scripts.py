"""The scripts of the pages: their JSDoc types fit, and nothing is loaded from elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from realtime.engine.testing import PROJECT_ROOT

TYPESCRIPT = "typescript@5.9.3"
FOLDERS = [*PROJECT_ROOT.glob("static/*/"), *PROJECT_ROOT.glob("realtime/*/static/*")]
SCRIPTS = sorted(script for folder in FOLDERS for script in folder.glob("*.js"))
OPTIONS = [
    *("--noEmit", "--allowJs", "--checkJs", "--strict"),
    *("--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"),
]
LIB = ["--lib", "es2023,dom,dom.iterable"]


@pytest.fixture
def served(tmp_path) -> Path:
    """The scripts as ``/static/`` serves them: those of all apps side by side."""
    for folder in FOLDERS:
        shutil.copytree(folder, tmp_path / folder.name, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def compiler(npm_package) -> str:
    """The TypeScript compiler, a script for Node."""
    if shutil.which("node") is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("node is not installed")
    return str(npm_package(TYPESCRIPT) / "lib" / "tsc.js")


@pytest.fixture
def check_types(compiler):
    """Runs the TypeScript compiler over files and returns what it complains about."""

    def check(files: list[Path]) -> list[str]:
        command = ["node", compiler, *OPTIONS, *LIB, *map(str, files)]
        return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()

    return check


def test_the_types_of_the_scripts_fit(check_types, served):
    assert SCRIPTS
    assert check_types([served / script.parent.name / script.name for script in SCRIPTS]) == []


def test_a_message_that_the_server_does_not_know_is_a_type_error(check_types, served):
    client = served / "rooms" / "client.js"
    client.write_text(client.read_text().replace('{ type: "History", room,', '{ type: "Hystory", room,'))
    [complaint, *_] = check_types([client])
    assert "client.js" in complaint
    assert "Hystory" in complaint


def test_the_declarations_of_the_engine_are_those_of_its_scripts(compiler, tmp_path):
    folder = PROJECT_ROOT / "realtime/engine/static/realtime"
    declared = sorted(folder.glob("*.d.ts"))
    scripts = [str(path.with_name(path.name.replace(".d.ts", ".js"))) for path in declared]
    options = [option for option in OPTIONS if option != "--noEmit"]
    emit = ["--declaration", "--emitDeclarationOnly", "--outDir", str(tmp_path)]
    subprocess.run(["node", compiler, *options, *LIB, *emit, *scripts], check=True)
    assert declared
    for path in declared:
        assert path.read_text() == (tmp_path / path.name).read_text(), f"copy {tmp_path / path.name} to {path}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_loads_only_its_neighbours_and_the_engine(script, served):
    imported = re.findall(r"^import .*? from \"([^\"]+)\";$", script.read_text(), re.MULTILINE | re.DOTALL)
    assert all(re.fullmatch(r"(\.|\.\./(realtime|client))/[a-z_]+\.js", name) for name in imported)
    assert all((served / script.parent.name / name).is_file() for name in imported)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_makes_no_markup_and_runs_no_text(script):
    forbidden = (
        r"\.(innerHTML|outerHTML|insertAdjacentHTML|write)\b|\beval\(|new Function|document\.cookie|localStorage"
    )
    assert re.findall(forbidden, script.read_text()) == []
