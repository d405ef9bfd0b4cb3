"""The two tutorials work as they are printed: their files, edits and commands, in a copy of this project."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from realtime.engine.testing import PROJECT_ROOT

POLL = (PROJECT_ROOT / "docs/tutorial.md").read_text()
DJANGO = (PROJECT_ROOT / "docs/tutorial-django.md").read_text()

#: What the text says in words, next to which line it goes.
APP = ("project/settings.py", '    "realtime.accounts",\n', '    "realtime.polls",\n')
VIEW = ("project/urls.py", "from realtime.engine.describe.views import asyncapi_json\n")
PAGE = ("realtime/routing.py", "from realtime.endpoints.poll import PollConsumer\n")


#: What the second tutorial ends with: two people have the page open, and one of them votes.
BROWSER = '''"""The page of the poll in Chromium."""

import pytest
from playwright.async_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_vote_appears_in_the_other_window(new_page, password):
    windows = []
    for name in ("ann", "admin"):
        page = await new_page("/login/?next=/poll/")
        await page.locator("[name=username]").fill(name)
        await page.locator("[name=password]").fill(password)
        await page.locator("[name=password]").press("Enter")
        await expect(page.locator("#results")).to_contain_text("tea: 0")
        windows.append(page)
    await windows[0].get_by_role("button", name="tea").click()
    await expect(windows[1].locator("#results")).to_contain_text("tea: 1")
'''


def run(folder: Path, *command: str) -> str:
    """Run a command in a project as a person would, without this run's settings."""
    hidden = ("DJANGO_SETTINGS_MODULE", "DATABASE_URL", "PYTEST_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def passes(folder: Path, tests: str) -> str:
    return run(folder, "-m", "pytest", "-p", "no:cacheprovider", tests)


def commands(text: str) -> list[str]:
    return re.findall(r"^\$ (.*)$", text, re.MULTILINE)


def files(text: str) -> dict[str, str]:
    """Return the code blocks of a text by what the comment in their first line says."""
    found = re.findall(r"```(?:python\n# |html\n[{]# |js\n// )(.*?)(?: #\})?\n(.*?)```", text, re.DOTALL)
    return dict(found)


def write(folder: Path, text: str) -> None:
    """Write the files that a text prints, and make the edits that it prints as a diff."""
    for name, code in files(text).items():
        if re.fullmatch(r"[\w/.]+\.\w+", name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(code)
    for edit in re.findall(r"```diff\n(.*?)```", text, re.DOTALL):
        subprocess.run(["git", "apply", "-"], cwd=folder, input=edit, text=True, check=True)


def insert(folder: Path, name: str, after: str, line: str) -> None:
    """Put a line below one that the file has once."""
    source = (folder / name).read_text()
    assert source.count(after) == 1, name
    (folder / name).write_text(source.replace(after, after + line))


def add_line(folder: Path, name: str, opening: str) -> None:
    """Add the line that the second tutorial prints to the list that opens so."""
    insert(folder, name, opening, files(DJANGO)[f"a line of {name}"])


def step(number: int, text: str = POLL) -> str:
    return re.split(r"^## \d\. ", text, flags=re.MULTILINE)[number]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of this project to work in."""
    left_out = shutil.ignore_patterns(".*", "__pycache__", "*.sqlite3*", "node_modules", "staticfiles")
    shutil.copytree(PROJECT_ROOT, tmp_path / "project", ignore=left_out)
    return tmp_path / "project"


def start(project: Path) -> None:
    """Go as far as the end of section 3."""
    run(project, "manage.py", "startendpoint", "poll")
    write(project, step(2) + step(3))


def store_votes(project: Path) -> str:
    """Do what section 5 says, and return what its commands print."""
    (project / "realtime/polls").mkdir()
    (project / "realtime/polls/__init__.py").touch()
    insert(project, *APP)
    write(project, step(5))
    return run(project, "manage.py", "makemigrations", "polls") + run(project, "manage.py", "migrate")


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_the_poll_works_as_it_is_printed(project: Path) -> None:
    assert commands(step(1) + step(2) + step(3)) == [
        ".venv/bin/python manage.py startendpoint poll",
        "make test T=tests/test_poll.py",
    ]
    start(project)
    run(project, "manage.py", "check")
    said = passes(project, "tests/test_poll.py")
    [printed] = re.findall(r"says `(\d+ passed)`", step(3))
    assert printed in said


def test_the_shell_snippet_runs(project: Path) -> None:
    start(project)
    run(project, "manage.py", "shell", "-c", files(POLL)["in the shell"])


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_one_vote_for_each_user_and_the_rest_of_django_work_as_they_are_printed(project: Path) -> None:
    assert commands(step(5)) == [
        ".venv/bin/python manage.py makemigrations polls",
        ".venv/bin/python manage.py migrate",
        "make test T=tests/test_poll.py",
    ]
    start(project)
    said = store_votes(project)
    for line in ("Create model Ballot", "Applying polls.0001_initial... OK"):
        assert f"`{line}`" in step(5)
        assert line in said
    [printed] = re.findall(r"says `(\d+ passed)`", step(5))
    assert printed in passes(project, "tests/test_poll.py")

    write(project, DJANGO)
    insert(project, *VIEW, "from realtime.polls.views import poll\n")
    insert(project, *PAGE, "from realtime.endpoints.poll_page import PollPageConsumer\n")
    add_line(project, "project/urls.py", "urlpatterns = [\n")
    add_line(project, "realtime/routing.py", "websocket_urlpatterns = [\n")
    run(project, "manage.py", "check")
    run(project, "manage.py", "makemigrations", "--check", "--dry-run")
    with_tasks, without = re.findall(r"says `(\d passed)`, or `(\d passed, 1 skipped)`", DJANGO)[0]
    has_tasks = importlib.util.find_spec("django.tasks") is not None
    assert (with_tasks if has_tasks else without) in passes(project, "tests/test_poll_page.py")
    assert printed in passes(project, "tests/test_poll.py")
    (project / "tests/browser/test_poll.py").write_text(BROWSER)
    has_browser = any(map(shutil.which, ["chromium-headless-shell", "chromium"]))
    assert ("1 passed" if has_browser else "1 skipped") in passes(project, "tests/browser/test_poll.py")
    run(project, "-m", "ruff", "check", "--no-cache", ".")
    run(project, "-m", "ruff", "format", "--no-cache", "--check", ".")


def test_check_deploy_runs_as_it_is_printed() -> None:
    [command] = [command for command in commands(step(6)) if "check --deploy" in command]
    command = command.replace(".venv/bin/python", sys.executable)
    hidden = ("DJANGO_", "REDIS_URL", "WEB_CONCURRENCY")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    done = subprocess.run(
        ["bash", "-c", command], cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"realtime\.W\d+", done.stderr)) <= {"realtime.W004", "realtime.W005"}
