"""Signing keys and allowed hosts of development, and where development ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from realtime.engine.testing import PROJECT_ROOT, ServerProcess

SHOW = """
import json, subprocess, sys
from project import settings
shown = {name: getattr(settings, name) for name in ("SECRET_KEY", "DEBUG", "ALLOWED_HOSTS")}
if "child" in sys.argv:
    command = [sys.executable, "-c", "from project import settings; print(settings.SECRET_KEY, end='')"]
    shown["child"] = subprocess.run(command, check=True, capture_output=True, text=True).stdout
print(json.dumps(shown))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout on which nothing has run yet."""
    return make_checkout(tmp_path / "checkout")


def make_checkout(directory: Path) -> Path:
    for folder in ("project", "realtime"):
        shutil.copytree(PROJECT_ROOT / folder, directory / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT_ROOT / "Makefile", directory)
    return directory


def environment(**variables: str) -> dict[str, str]:
    """The environment of a new terminal."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "MAKE"))}
    return {**inherited, **variables}


def python(checkout: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SHOW, *arguments]
    return subprocess.run(command, cwd=checkout, env=environment(**variables), capture_output=True, text=True)


def settings_of(checkout: Path, *arguments: str, **variables: str) -> dict:
    done = python(checkout, *arguments, **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def make(checkout: Path, *arguments: str) -> str:
    command = ["make", f"VENV={sys.prefix}", *arguments]
    return subprocess.run(command, cwd=checkout, env=environment(), check=True, capture_output=True, text=True).stdout


def make_key(checkout: Path) -> str:
    make(checkout, ".env")
    return (checkout / ".env").read_text()


def test_the_first_run_makes_a_key_that_nobody_else_can_read(checkout: Path) -> None:
    assert re.search(r"^run:.* \.env ", (checkout / "Makefile").read_text(), re.MULTILINE)
    key = make_key(checkout)
    assert re.fullmatch(r"DJANGO_DEVELOPMENT_KEY=[\w-]{40,}\n", key)
    assert stat.S_IMODE((checkout / ".env").stat().st_mode) == 0o600
    assert sorted(path.name for path in checkout.iterdir()) == [".env", "Makefile", "project", "realtime"]


def test_a_later_run_keeps_the_key(checkout: Path) -> None:
    assert make_key(checkout) == make_key(checkout)


def test_a_file_of_ones_own_is_not_overwritten(checkout: Path) -> None:
    (checkout / ".env").write_text("DATABASE_URL=sqlite:///mine\n")
    assert make_key(checkout) == "DATABASE_URL=sqlite:///mine\n"


def test_first_runs_at_the_same_time_agree_on_the_key(checkout: Path) -> None:
    with ThreadPoolExecutor(4) as terminals:
        keys = list(terminals.map(make_key, [checkout] * 4))
    assert keys == [keys[0]] * 4
    assert keys[0].count("DJANGO_DEVELOPMENT_KEY=") == 1
    assert sorted(path.name for path in checkout.iterdir()) == [".env", "Makefile", "project", "realtime"]


def test_all_processes_sign_with_the_key_of_the_file(checkout: Path) -> None:
    key = make_key(checkout).strip().partition("=")[2]
    first, second = settings_of(checkout), settings_of(checkout)
    assert first["SECRET_KEY"] == second["SECRET_KEY"]
    assert key in first["SECRET_KEY"]
    assert first["DEBUG"] is True


def test_a_project_made_from_a_checkout_that_has_run_signs_with_another_key(checkout: Path, tmp_path: Path) -> None:
    """``startproject`` copies hidden files too."""
    make_key(checkout)
    copy = make_checkout(tmp_path / "mysite")
    shutil.copy(checkout / ".env", copy)
    assert settings_of(copy)["SECRET_KEY"] != settings_of(checkout)["SECRET_KEY"]


def test_without_a_file_each_process_has_a_key_of_its_own_that_its_children_share(checkout: Path) -> None:
    first, second = settings_of(checkout, "child"), settings_of(checkout, "child")
    assert first["child"] == first["SECRET_KEY"]
    assert second["child"] == second["SECRET_KEY"]
    assert first["SECRET_KEY"] != second["SECRET_KEY"]
    assert len(first["SECRET_KEY"].partition("@")[0]) >= 64


def test_git_ignores_the_key() -> None:
    assert ".env" in (PROJECT_ROOT / ".gitignore").read_text().splitlines()


def test_a_secret_key_in_the_environment_means_production_also_where_somebody_has_developed(checkout: Path) -> None:
    make_key(checkout)
    shown = settings_of(checkout, DJANGO_SECRET_KEY="k" * 50)
    assert (shown["SECRET_KEY"], shown["DEBUG"]) == ("k" * 50, False)


@pytest.mark.parametrize("variables", [{"DJANGO_SECRET_KEY": ""}, {"DJANGO_SECRET_KEY": "  ", "DJANGO_DEBUG": "1"}])
def test_a_secret_key_that_is_set_and_empty_is_an_error(checkout: Path, variables: dict[str, str]) -> None:
    done = python(checkout, **variables)
    assert done.returncode != 0
    assert "DJANGO_SECRET_KEY is set, and empty." in done.stderr


def test_a_secret_key_from_an_empty_file_is_an_error(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("\n")
    done = python(checkout, DJANGO_SECRET_KEY_FILE=str(tmp_path / "key"))
    assert done.returncode != 0
    assert "DJANGO_SECRET_KEY is set, and empty." in done.stderr


def test_make_gives_the_settings_the_host_that_it_serves_on(checkout: Path) -> None:
    show = "--eval=show: ; @echo [$$DJANGO_DEVELOPMENT_HOST] [$$DJANGO_ALLOWED_HOSTS]"
    assert make(checkout, show, "show", "HOST=0.0.0.0") == "[0.0.0.0] []\n"
    assert make(checkout, show, "show") == "[] []\n"


def test_hosts_that_were_named_are_the_only_ones(checkout: Path) -> None:
    shown = settings_of(checkout, DJANGO_DEVELOPMENT_HOST="0.0.0.0", DJANGO_ALLOWED_HOSTS="dev.example")
    assert shown["ALLOWED_HOSTS"] == ["dev.example"]
    assert settings_of(checkout)["ALLOWED_HOSTS"] == []


def test_served_to_others_it_answers_to_the_names_and_addresses_of_this_machine_only() -> None:
    def status(host: str) -> int:
        request = urllib.request.Request(server.http("/login/"), headers={"Host": f"{host}:{server.port}"})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code

    command = (*ServerProcess.RUNSERVER[:-1], "0.0.0.0:{port}")
    with ServerProcess(command, env={"DJANGO_DEVELOPMENT_HOST": "0.0.0.0"}) as server:
        assert [status(host) for host in ("localhost", "127.0.0.1", socket.gethostname())] == [200, 200, 200]
        assert status("evil.example") == 400
