"""The scripts of the pages: their JSDoc types fit, and nothing is loaded from elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from realtime.engine.testing.server import PROJECT_ROOT

TYPESCRIPT = "typescript@5.9.3"
SCRIPTS = sorted((PROJECT_ROOT / "static" / "realtime").glob("*.js"))
OPTIONS = [
    *("--noEmit", "--allowJs", "--checkJs", "--strict"),
    *("--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"),
]


@pytest.fixture
def check_types(npm_package):
    """Runs the TypeScript compiler over files and returns what it complains about."""
    if shutil.which("node") is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("node is not installed")
    compiler = npm_package(TYPESCRIPT) / "lib" / "tsc.js"

    def check(files: list[Path]) -> list[str]:
        command = ["node", str(compiler), *OPTIONS, "--lib", "es2023,dom,dom.iterable", *map(str, files)]
        return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()

    return check


def test_the_types_of_the_scripts_fit(check_types):
    assert SCRIPTS
    assert check_types(SCRIPTS) == []


def test_a_message_that_the_server_does_not_know_is_a_type_error(check_types, tmp_path):
    shutil.copytree(PROJECT_ROOT / "static" / "realtime", tmp_path / "realtime")
    client = tmp_path / "realtime" / "client.js"
    client.write_text(client.read_text().replace('{ type: "Leave", room,', '{ type: "Leaf", room,'))
    [complaint, *_] = check_types([client])
    assert "client.js" in complaint
    assert "Leaf" in complaint


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_loads_only_its_neighbours(script):
    imported = re.findall(r"^import .*? from \"([^\"]+)\";$", script.read_text(), re.MULTILINE | re.DOTALL)
    assert all(re.fullmatch(r"\./[a-z]+\.js", name) and (script.parent / name).is_file() for name in imported)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_makes_no_markup_and_runs_no_text(script):
    forbidden = (
        r"\.(innerHTML|outerHTML|insertAdjacentHTML|write)\b|\beval\(|new Function|document\.cookie|localStorage"
    )
    assert re.findall(forbidden, script.read_text()) == []
