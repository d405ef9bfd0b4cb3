"""``make upgrade FROM=<template>``: replaces the engine of this project by a newer one.

It needs git and the standard library only, so that it also runs in a project that cannot start::

    python -m realtime.engine.upgrade ../realtime-template
    python -m realtime.engine.upgrade https://example.com/realtime-template.git v0.3.0
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

#: The folders that are replaced as a whole, relative to the project.
PARTS = ("realtime/engine", "tests/engine")

#: The files that take the template's lines and keep the packages that only the project names.
REQUIREMENTS = ("requirements.txt", "requirements-tracing.txt", "requirements-dev.txt", "constraints.txt")

#: Edited files that a refusal lists.
_LISTED = 20

_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)
_SECTION = re.compile(r"^(?=## \d)", re.MULTILINE)
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class UpgradeRefused(Exception):
    """The upgrade would lose something or cannot begin; the message says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Upgrade the project in the current directory.

    Args:
        arguments: the command line; that of the process by default.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="make upgrade", description="Replace the engine by a newer one.")
    parser.add_argument("source", help="path or git URL of the template")
    parser.add_argument("version", nargs="?", help="tag, branch or commit of the template; its newest tag by default")
    options = parser.parse_args(arguments)
    try:
        report = upgrade(Path.cwd(), options.source, options.version)
    except UpgradeRefused as refusal:
        print(f"Not upgraded: {refusal}", file=sys.stderr)
        return 1
    print(report)
    return 0


def upgrade(project: Path, source: str, version: str | None = None) -> str:
    """Replace the engine, its tests and the pinned requirements, and stage the change.

    Args:
        project: root of the project, a git work tree without changes.
        source: path or git URL of the template.
        version: what to take from there; the newest version tag, or the default branch where there is none.

    Returns:
        What changed: files, and the sections of the changelog from one version to the other.

    Raises:
        UpgradeRefused: if the project has uncommitted changes, its engine was edited, or the template has no newer one.
    """
    _require_committed(project)
    with tempfile.TemporaryDirectory(prefix="engine-upgrade-") as folder:
        template = Path(folder) / "template"
        _check_out(source, version, template)
        own = _tree_of(project, template)
        was, now = _version(template, own), _version(template, "HEAD")
        base = _released(template, own)
        if not _changed(template, own, "HEAD"):
            raise UpgradeRefused(f"the engine is at {now} already.")
        if _numbers(now) < _numbers(was):
            raise UpgradeRefused(f"the engine is at {was}, and {source} has the older {now}.")
        sections = _sections(_show(template, "HEAD", "CHANGELOG.md"), was, now)
        for part in PARTS:
            shutil.rmtree(project / part)
            shutil.copytree(template / part, project / part)
        for name in REQUIREMENTS:
            if (project / name).is_file():
                merged = _merged(
                    (project / name).read_text(), _show(template, base, name), _show(template, "HEAD", name)
                )
                (project / name).write_text(merged)
                _git(project, "add", "--", name)
        _git(project, "add", "--all", "--force", "--", *PARTS)
    return "\n\n".join(
        [
            f"The engine was {was} and is {now}.",
            _git(project, "diff", "--cached", "--stat"),
            sections,
            "Everything is staged, nothing is committed: 'git diff --cached' shows it, 'git reset --hard' undoes it.",
        ]
    )


def _require_committed(project: Path) -> None:
    try:
        changes = _git(project, "status", "--porcelain")
    except subprocess.CalledProcessError:
        raise UpgradeRefused("this is no git repository. Commit the project first.") from None
    if changes:
        raise UpgradeRefused(f"the work tree has changes. Commit or stash them first:\n{changes}")
    if not all((project / part).is_dir() for part in PARTS):
        raise UpgradeRefused(f"{' or '.join(PARTS)} is missing: run this in the root of a project from the template.")


def _check_out(source: str, version: str | None, template: Path) -> None:
    try:
        _git(Path.cwd(), "clone", "--quiet", "--", source, str(template))
    except subprocess.CalledProcessError as error:
        raise UpgradeRefused(f"the template cannot be cloned from {source}: {error.stderr.strip()}") from None
    if version is None:
        tags = _git(template, "tag", "--list", "v[0-9]*.[0-9]*.[0-9]*", "--sort=-version:refname").split()
        version = next((tag for tag in tags if "-" not in tag), "HEAD")
    for name in (version, f"origin/{version}"):
        try:
            commit = _git(template, "rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}")
        except subprocess.CalledProcessError:
            continue
        _git(template, "checkout", "--quiet", "--detach", commit)
        return
    raise UpgradeRefused(f"{source} has no version {version}.")


def _tree_of(project: Path, template: Path) -> str:
    """Return the git tree of the project's engine, stored among the objects of the template."""
    environment = {"GIT_DIR": str(template / ".git"), "GIT_INDEX_FILE": str(template / ".git" / "index-of-project")}
    # Neither line endings nor modes that another system gave to the files are edits.
    options = ("-c", "core.autocrlf=input", "-c", "core.fileMode=false", "-c", f"core.worktree={project}")
    _git(project, *options, "add", "--force", "--", *PARTS, ":(exclude,glob)**/__pycache__/**", **environment)
    return _git(project, *options, "write-tree", **environment)


def _released(template: Path, own: str) -> str:
    """Return the commit of the template whose engine the project has, unedited."""
    commits = _git(template, "log", "--all", "--full-history", "--format=%H", "--", *PARTS).split()
    names = "".join(f"{commit}:{part}\n" for commit in [own, *commits] for part in PARTS)
    objects = _git(template, "cat-file", "--batch-check=%(objectname)", stdin=names).splitlines()
    engines = [tuple(objects[start : start + len(PARTS)]) for start in range(0, len(objects), len(PARTS))]
    for commit, engine in zip(commits, engines[1:], strict=True):
        if engine == engines[0]:
            return commit
    edited = min((_changed(template, commit, own) for commit in commits), key=len)
    listed = "".join(f"\n  {name}" for name in edited[:_LISTED])
    raise UpgradeRefused(
        f"the engine was edited; number of files that no version of the template has: {len(edited)}{listed}\n"
        "Move your changes into a subclass or a file of your own and restore these files: an upgrade replaces them."
    )


def _changed(template: Path, old: str, new: str) -> list[str]:
    return _git(template, "diff", "--name-only", old, new, "--", *PARTS).splitlines()


def _version(template: Path, tree: str) -> str:
    try:
        match = _VERSION.search(_show(template, tree, "realtime/engine/__init__.py"))
    except subprocess.CalledProcessError:
        match = None
    if match is None:
        raise UpgradeRefused("realtime/engine/__init__.py does not say which version it has, here or in the template.")
    return match[1]


def _merged(own: str, base: str, new: str) -> str:
    """Return the lines of ``new``, and after them those that the project added for packages of its own."""
    released = {*base.splitlines(), *new.splitlines()}
    packages = {_package(line) for line in released} - {""}
    added = [line for line in own.splitlines() if line not in released and _package(line) not in packages]
    return new + "".join(f"{line}\n" for line in added)


def _package(line: str) -> str:
    match = _PACKAGE.match(line)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""


def _sections(changelog: str, was: str, now: str) -> str:
    """Return the sections of the versions after ``was``, up to ``now``."""
    sections = {section.partition("\n")[0]: section.strip() for section in _SECTION.split(changelog)[1:]}
    return "\n\n".join(section for head, section in sections.items() if _numbers(was) < _numbers(head) <= _numbers(now))


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def _show(template: Path, tree: str, name: str) -> str:
    return _git(template, "show", f"{tree}:{name}") + "\n"


def _git(folder: Path, *arguments: str, stdin: str | None = None, **environment: str) -> str:
    # Variables of a hook or another repository must not lead git away from the folder.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=inherited | environment, input=stdin, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
