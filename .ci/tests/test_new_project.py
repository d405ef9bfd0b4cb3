"""``.ci/new-project``: a project with a name of its own, made from a checkout that was used."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from realtime.engine.testing import PROJECT_ROOT

#: What lies in a checkout that was used, and is no source.
USED = ("db.sqlite3", "db.sqlite3-wal", ".env", ".venv/bin/python", "staticfiles/app.css", ".cache/npm", "notes.txt")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which somebody has worked."""
    clone = tmp_path_factory.mktemp("used") / "template"
    subprocess.run(["git", "clone", "--quiet", str(PROJECT_ROOT), str(clone)], check=True)
    for name in USED:
        path = clone / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("private")
    return clone


@pytest.fixture(scope="module")
def made(used: Path) -> Path:
    """The project that the README's third command makes."""
    result = run(used, ".ci/new-project", "mysite", "../mysite")
    assert result.returncode == 0, result.stderr
    return used.parent / "mysite"


def test_it_is_the_third_command_of_the_readme() -> None:
    commands = re.findall(r"^\$ (.*)$", (PROJECT_ROOT / "README.md").read_text(), re.MULTILINE)
    assert commands[2] == ".venv/bin/python .ci/new-project mysite ../mysite"


def private_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.read_bytes() == b"private"]


def test_the_other_commands_of_the_readme_leave_out_what_is_no_source(used: Path, tmp_path: Path) -> None:
    [archive] = re.findall(r"`git (archive [^`]+)`", (PROJECT_ROOT / "README.md").read_text())
    subprocess.run(["git", "-C", str(used), *archive.replace("template.zip", f"{tmp_path}/a.zip").split()], check=True)
    assert run(tmp_path, "-m", "django", "startproject", "--template", f"{tmp_path}/a.zip", "mysite").returncode == 0
    assert (tmp_path / "mysite/manage.py").exists()
    assert private_files(tmp_path) == []
    # Why the README asks for that. When this fails, Django can leave them out, and the README says too much.
    assert run(tmp_path, "-m", "django", "startproject", "--template", str(used), "copied").returncode == 0
    assert {path.name for path in private_files(tmp_path)} >= {"db.sqlite3", ".env"}


def test_nothing_but_source_comes_along(made: Path) -> None:
    assert private_files(made) == []
    assert not (made / ".ci").exists()
    assert (made / ".github/workflows/test.yml").exists()
    assert (made / ".env.example").exists()


def test_it_checks_and_its_migrations_are_complete(made: Path) -> None:
    for command in (["check"], ["makemigrations", "--check", "--dry-run"]):
        result = run(made, "manage.py", *command)
        assert result.returncode == 0, result.stderr


def test_pages_have_its_name(made: Path) -> None:
    script = "from django.test import Client; print(Client().get('/rooms/', headers={'host': 'localhost'}).text)"
    run(made, "manage.py", "migrate")
    page = run(made, "manage.py", "shell", "-c", script).stdout
    assert "<title>Rooms · mysite</title>" in page


def test_its_containers_units_and_readme_have_its_name(made: Path) -> None:
    compose = yaml.safe_load((made / "docker/compose.yaml").read_text())
    assert compose["name"] == "mysite"
    assert (made / "docker/systemd/mysite@.service").exists()
    assert "/srv/mysite" in (made / "docker/systemd/mysite@.service").read_text()
    assert "mysite@8001.socket" in (made / "docs/deployment.md").read_text()
    for page in ("deployment.md", "deployment-platforms.md", "operations.md"):
        commands, printed = (
            re.findall(r"^\$ (.*)$", (folder / "docs" / page).read_text(), re.MULTILINE)
            for folder in (PROJECT_ROOT, made)
        )
        assert printed == [re.sub(r"\brealtime\b", "mysite", command) for command in commands]
    readme = (made / "README.md").read_text()
    assert readme.startswith("# mysite\n")
    assert [link for link in re.findall(r"\]\(([^)#:]+)\)", readme) if not (made / link).exists()] == []
    pyproject = tomllib.loads((made / "pyproject.toml").read_text())["project"]
    assert pyproject["name"] == "mysite"
    assert pyproject["description"].startswith("mysite: a Django project for ")
    assert json.loads((made / ".devcontainer/devcontainer.json").read_text())["name"] == "mysite"
    assert json.loads((made / "docker/grafana/mysite.json").read_text())["title"] == "mysite"
    assert "#DATABASE_URL=postgres://mysite:password@127.0.0.1:5432/mysite\n" in (made / ".env.example").read_text()
    assert 'name = "mysite"' in (made / "uv.lock").read_text()


def test_every_link_and_picture_of_its_documents_is_there(made: Path) -> None:
    missing = [
        f"{page.name}: {target}"
        for page in [*made.glob("*.md"), *made.glob("docs/*.md")]
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert missing == []


def test_dependabot_looks_only_where_something_is(made: Path) -> None:
    updates = yaml.safe_load((made / ".github/dependabot.yml").read_text())["updates"]
    assert [update for update in updates if not (made / update["directory"].lstrip("/")).is_dir()] == []


def test_the_python_package_keeps_its_name(made: Path) -> None:
    assert "COPY realtime realtime" in (made / "docker/Dockerfile").read_text()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "Say what it is called"),
        (["my-site", "../my-site"], "not a valid project name"),
        (["mysite", "."], "is there already"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(used: Path, arguments: list[str], reason: str) -> None:
    result = run(used, ".ci/new-project", *arguments)
    assert result.returncode == 1
    assert reason in result.stderr


def test_without_a_repository_it_says_why_it_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "downloaded/.ci").mkdir(parents=True)
    shutil.copy(PROJECT_ROOT / ".ci/new-project", tmp_path / "downloaded/.ci")
    result = run(tmp_path / "downloaded", ".ci/new-project", "mysite", str(tmp_path / "mysite"))
    assert result.returncode == 1
    assert "git says which files are source, and cannot: fatal: not a git repository" in result.stderr
    assert "Traceback" not in result.stderr
