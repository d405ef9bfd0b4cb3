"""``copier copy`` and ``copier update`` with copier itself, on a clone of this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from realtime.engine.testing import PROJECT_ROOT

COPIER = shutil.which("copier", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(600),
    pytest.mark.skipif(COPIER is None and "CI" not in os.environ, reason="copier is not installed"),
]


def run(folder: Path, *command: str) -> str:
    """Run a command as a person would, without this run's settings, and with a name for git."""
    hidden = ("DJANGO_", "DATABASE_", "PYTEST_", "GIT_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "Owner", f"GIT_{role}_EMAIL": "owner@example.com"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commit(folder: Path, message: str) -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", message)


def test_a_copy_is_updated_and_keeps_what_its_owner_wrote(tmp_path: Path) -> None:
    template, project = tmp_path / "template", tmp_path / "mysite"
    run(tmp_path, "git", "clone", "--quiet", str(PROJECT_ROOT), str(template))
    run(template, "git", "tag", "v0.0.1")

    run(tmp_path, str(COPIER), "copy", "--defaults", str(template), str(project))
    assert not (project / ".ci").exists()
    assert not (project / "copier.yml").exists()
    copied = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}
    answers = {".copier-answers.yml"}
    listed = set(run(template, "git", "ls-files").splitlines())
    assert copied - answers == {
        name
        for name in listed
        if not name.startswith((".ci/", "tests/email_login/"))
        and name not in ("copier.yml", ".copier-answers.yml.jinja")
    }
    run(project, "git", "init", "--quiet")
    commit(project, "Begin")
    run(project, sys.executable, "manage.py", "startendpoint", "stock_ticker")
    page = next((project / "templates/realtime").glob("*.html"))
    page.write_text(page.read_text() + "<!-- ours -->\n")
    commit(project, "Our site")

    with (template / "realtime/engine/protocol/close.py").open("a") as close:
        close.write("\n# A newer line.\n")
    (template / "realtime/endpoints/novel.py").write_text('"""New."""\n')
    commit(template, "A newer version")
    run(template, "git", "tag", "v0.0.2")

    run(project, str(COPIER), "update", "--defaults")
    assert (project / "realtime/engine/protocol/close.py").read_text().endswith("# A newer line.\n")
    assert (project / "realtime/endpoints/novel.py").is_file()
    assert (project / "realtime/endpoints/stock_ticker.py").is_file()
    assert page.read_text().endswith("<!-- ours -->\n")
    assert "StockTicker" in (project / "realtime/routing.py").read_text()
    assert "v0.0.2" in (project / ".copier-answers.yml").read_text()
    assert run(project, "git", "ls-files", "--unmerged") == ""
    run(project, sys.executable, "manage.py", "check")
