"""``make upgrade`` on small repositories: a template with two versions, and projects made from the first."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from realtime.engine.upgrade import UpgradeRefused, main, upgrade

OLD = {
    "realtime/engine/__init__.py": '__version__ = "1.2.0"\n',
    "realtime/engine/close.py": "GOING_AWAY = 1001\n",
    "realtime/engine/old.py": "GONE = True\n",
    "tests/engine/test_close.py": "def test_close(): pass\n",
    "requirements.txt": "# Direct dependencies.\nDjango>=5.2,<5.3\n",
    "constraints.txt": "django==5.2.1\nleft-behind==1.0\n",
    "CHANGELOG.md": "# Changelog\n\n## 1.2.0\n\n- The old one.\n",
    "realtime/routing.py": "websocket_urlpatterns = []\n",
}
NEW = {
    "realtime/engine/__init__.py": '__version__ = "1.10.0"\n',
    "realtime/engine/close.py": "GOING_AWAY = 1001\nTRY_AGAIN = 1013\n",
    "realtime/engine/server/new.py": "NEW = True\n",
    "tests/engine/test_close.py": "def test_close(): pass\n",
    "requirements.txt": "# Direct dependencies.\nDjango>=5.2,<5.3\nnewcomer>=2\n",
    "constraints.txt": "django==5.2.2\nnewcomer==2.1\n",
    "CHANGELOG.md": "# Changelog\n\n## 1.10.0\n\n- Rename nothing.\n\n## 1.2.0\n\n- The old one.\n",
    "realtime/routing.py": "websocket_urlpatterns = ['new']\n",
}


def git(folder: Path, *arguments: str) -> str:
    options = ("-c", "user.name=Owner", "-c", "user.email=owner@example.com", "-c", "commit.gpgsign=false")
    command = ["git", *options, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A template with the tags ``v1.2.0`` and ``v1.10.0``."""
    template = tmp_path / "template"
    template.mkdir()
    git(template, "init", "--quiet", "--initial-branch=main")
    for files, tag in ((OLD, "v1.2.0"), (NEW, "v1.10.0")):
        for part in ("realtime", "tests"):
            shutil.rmtree(template / part, ignore_errors=True)
        write(template, files)
        commit(template, tag)
        git(template, "tag", tag)
    return template


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the files of the old version in a history of its own, and more packages than the template's."""
    project = tmp_path / "project"
    write(project, OLD)
    write(project, {"realtime/routing.py": "websocket_urlpatterns = ['own']\n", ".gitignore": "__pycache__/\n"})
    with (project / "requirements.txt").open("a") as requirements:
        requirements.write("# Payments.\nstripe>=9\n-r other.txt\n")
    with (project / "constraints.txt").open("a") as constraints:
        constraints.write("stripe==9.1\n")
    git(project, "init", "--quiet", "--initial-branch=main")
    commit(project, "Our site")
    return project


@pytest.fixture
def refused(project: Path, template: Path) -> Callable[..., str]:
    """Asserts that an upgrade is refused and changes nothing; returns the reason."""

    def refuse(source: Path = template, version: str | None = None) -> str:
        before = git(project, "status", "--porcelain")
        with pytest.raises(UpgradeRefused) as caught:
            upgrade(project, str(source), version)
        assert git(project, "status", "--porcelain") == before
        return str(caught.value)

    return refuse


def test_folders_are_replaced_as_a_whole_and_everything_else_stays(project: Path, template: Path) -> None:
    upgrade(project, str(template))
    engine = {path.name for path in (project / "realtime/engine").rglob("*.py")}
    assert engine == {"__init__.py", "close.py", "new.py"}
    assert "TRY_AGAIN" in (project / "realtime/engine/close.py").read_text()
    assert (project / "realtime/routing.py").read_text() == "websocket_urlpatterns = ['own']\n"


def test_everything_is_staged_and_nothing_is_committed(project: Path, template: Path) -> None:
    upgrade(project, str(template))
    assert git(project, "log", "--format=%s").split("\n") == ["Our site", ""]
    assert git(project, "diff", "--name-only") == ""
    assert git(project, "ls-files", "--others", "--exclude-standard") == ""
    assert "realtime/engine/old.py" in git(project, "diff", "--cached", "--name-only", "--no-renames")


def test_report_has_versions_files_and_the_sections_of_the_changelog(project: Path, template: Path) -> None:
    report = upgrade(project, str(template))
    assert report.startswith("The engine was 1.2.0 and is 1.10.0.")
    assert "realtime/engine/close.py" in report
    assert "Rename nothing." in report
    assert "The old one." not in report


def test_a_changelog_without_versions_is_no_hindrance(project: Path, template: Path) -> None:
    write(template, {"CHANGELOG.md": "# Changelog\n\n## Unreleased\n"})
    commit(template, "Release nothing")
    assert "is 1.10.0." in upgrade(project, str(template), "main")


def test_requirements_take_the_released_lines_and_keep_those_of_the_project(project: Path, template: Path) -> None:
    upgrade(project, str(template))
    assert (project / "constraints.txt").read_text() == "django==5.2.2\nnewcomer==2.1\nstripe==9.1\n"
    assert (project / "requirements.txt").read_text() == (
        "# Direct dependencies.\nDjango>=5.2,<5.3\nnewcomer>=2\n# Payments.\nstripe>=9\n-r other.txt\n"
    )


def test_a_version_can_be_chosen(project: Path, template: Path) -> None:
    git(template, "branch", "next")
    write(template, {"realtime/engine/__init__.py": '__version__ = "1.11.0"\n'})
    commit(template, "Not tagged")
    assert "is 1.10.0." in upgrade(project, str(template), "v1.10.0")
    git(project, "reset", "--quiet", "--hard")
    assert "is 1.10.0." in upgrade(project, str(template), "next")
    git(project, "reset", "--quiet", "--hard")
    assert "is 1.11.0." in upgrade(project, str(template), git(template, "rev-parse", "HEAD").strip())


def test_the_default_branch_is_taken_where_there_is_no_tag(project: Path, template: Path) -> None:
    git(template, "tag", "--delete", "v1.2.0", "v1.10.0")
    assert "is 1.10.0." in upgrade(project, str(template))


@pytest.mark.parametrize("edit", ["realtime/engine/close.py", "realtime/engine/own.py", "tests/engine/test_close.py"])
def test_an_edited_engine_is_not_overwritten(project: Path, refused: Callable[..., str], edit: str) -> None:
    write(project, {edit: "# ours\n"})
    commit(project, "Change the engine")
    reason = refused()
    assert f"no version of the template has: 1\n  {edit}\n" in reason
    assert (project / edit).read_text() == "# ours\n"


def test_a_file_that_git_ignores_counts_as_an_edit(project: Path, refused: Callable[..., str]) -> None:
    write(project, {"realtime/engine/local.py": "# ours\n", ".gitignore": "local.py\n"})
    commit(project, "Ignore a file")
    assert "realtime/engine/local.py" in refused()


def test_what_python_compiled_is_no_edit(project: Path, template: Path) -> None:
    write(project, {"realtime/engine/__pycache__/close.cpython-311.pyc": "compiled"})
    assert "is 1.10.0." in upgrade(project, str(template))


def test_line_endings_of_windows_are_no_edit(project: Path, template: Path) -> None:
    close = project / "realtime/engine/close.py"
    close.write_bytes(close.read_bytes().replace(b"\n", b"\r\n"))
    commit(project, "Check out on Windows")
    assert "is 1.10.0." in upgrade(project, str(template))


def test_changes_that_are_not_committed_stop_it(project: Path, refused: Callable[..., str]) -> None:
    write(project, {"realtime/routing.py": "changed\n"})
    assert "Commit or stash them first" in refused()


def test_the_same_version_has_nothing_to_upgrade(project: Path, refused: Callable[..., str]) -> None:
    assert refused(version="v1.2.0") == "the engine is at 1.2.0 already."


def test_an_older_version_is_refused(project: Path, template: Path, refused: Callable[..., str]) -> None:
    upgrade(project, str(template))
    commit(project, "Upgrade")
    assert "has the older 1.2.0" in refused(version="v1.2.0")


@pytest.mark.parametrize("version", ["v99.0.0", "--upload-pack=x", ""])
def test_a_version_that_is_not_there_is_refused(refused: Callable[..., str], version: str) -> None:
    assert f"has no version {version}" in refused(version=version)


def test_a_template_that_is_not_there_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "cannot be cloned from" in refused(source=tmp_path / "nothing")


def test_a_repository_without_an_engine_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    other = tmp_path / "other"
    write(other, {"README.md": "Something else\n"})
    git(other, "init", "--quiet")
    commit(other, "Begin")
    assert "does not say which version it has" in refused(source=other)


def test_a_folder_without_git_is_refused(project: Path, template: Path) -> None:
    shutil.rmtree(project / ".git")
    with pytest.raises(UpgradeRefused, match="no git repository"):
        upgrade(project, str(template))


def test_command_ends_with_1_and_says_why(project: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(project)
    assert main([str(project / "nothing")]) == 1
    assert "Not upgraded: the template cannot be cloned" in capsys.readouterr().err


def test_command_prints_the_report(project: Path, template: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(project)
    assert main([str(template), "v1.10.0"]) == 0
    assert "git reset --hard" in capsys.readouterr().out
