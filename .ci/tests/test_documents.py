"""The documents are true: links lead somewhere, and commands exist. ``test_tutorial.py`` tries the tutorials."""

from __future__ import annotations

import pkgutil
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command, get_commands

import realtime.engine
from realtime.engine.testing import PROJECT_ROOT

#: The README has tests of its own.
DOCUMENTS = sorted(
    path for path in [*PROJECT_ROOT.glob("*.md"), *(PROJECT_ROOT / "docs").glob("*.md")] if path.name != "README.md"
)
names = [path.name for path in DOCUMENTS]


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", document.read_text()):
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found.read_text()), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_every_command_exists(document: Path) -> None:
    text = document.read_text()
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^\$ |`)make ([a-z]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for command in re.findall(r"manage\.py ([a-z_]+)", text):
        assert command in {*get_commands(), "announce"}, command  # the second tutorial's reader makes that one


#: Files that another package, a command or the tutorial's reader makes.
ELSEWHERE = (
    *("daphne/http_channel.py", "build/benchmarks/", ".copier-answers.yml", "poll.py", "polls/__init__.py"),
    *("staticfiles/", "@8003.service"),
)

#: What looks like a module and is the name of a logger, or a file of systemd.
NOT_MODULES = ("realtime.wire", "realtime.access", "realtime.target")

#: The changelog names what is gone.
PAGES = [PROJECT_ROOT / "README.md", *(path for path in DOCUMENTS if path.name != "CHANGELOG.md")]


def spans(document: Path) -> set[str]:
    """Return the code in backticks of a page, without its code blocks."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    return set(re.findall(r"`([^`\s]+)`", text))


def tracked(*patterns: str) -> list[str]:
    """Return the files of the template, relative to its root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (PROJECT_ROOT / name).is_file()]


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.name)
def test_every_file_and_folder_in_backticks_exists(document: Path) -> None:
    files = "".join(f"/{name}\n" for name in tracked())
    ending = r"[\w.@-][\w.@/-]*(?:\.(?:py|js|css|html|md|json|toml|txt|ya?ml|conf|service|svg|d\.ts)|/)"
    named = {span for span in spans(document) if re.fullmatch(ending, span) and not span.endswith(ELSEWHERE)}
    assert {name for name in named if f"/{name}" + ("" if name.endswith("/") else "\n") not in files} == set()


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.name)
def test_every_module_in_backticks_exists(document: Path) -> None:
    dotted = {
        name.removesuffix("()")
        for name in spans(document)
        if re.fullmatch(r"(?:realtime|project|tests|benchmarks)(?:\.\w+)+(?:\(\))?", name)
    }
    for name in dotted - set(NOT_MODULES):
        assert pkgutil.resolve_name(name) is not None


def test_no_line_of_a_document_or_a_python_file_is_over_120_characters() -> None:
    long = [
        f"{name}:{number}"
        for name in tracked("*.md", "*.py")
        for number, line in enumerate((PROJECT_ROOT / name).read_text().splitlines(), 1)
        if len(line) > 120
    ]
    assert long == []


#: Parts of the engine that a project imports from; all other names come from ``realtime.engine`` itself.
SUB_PACKAGES = (
    "realtime.engine.testing",
    "realtime.engine.layer",
    "realtime.engine.monitoring",
    "realtime.engine.server.uvicorn",
    "realtime.engine.topics",
)


@pytest.mark.parametrize("document", [*DOCUMENTS, PROJECT_ROOT / "README.md"], ids=[*names, "README.md"])
def test_documents_import_only_public_names_of_the_engine(document: Path) -> None:
    imports = re.findall(r"^ *from (realtime\.engine[\w.]*) import (.*)$", document.read_text(), re.MULTILINE)
    for module, imported in imports:
        if module == "realtime.engine":
            assert {name.strip() for name in imported.split(",")} <= set(realtime.engine.__all__)
        else:
            assert module.startswith(SUB_PACKAGES), module


def test_every_file_that_a_console_command_names_exists() -> None:
    for document in DOCUMENTS:
        for line in re.findall(r"^\$ (.*)$", document.read_text(), re.MULTILINE):
            for word in shlex.split(line):
                if word.startswith("docker/") and "*" not in word:
                    assert (PROJECT_ROOT / word).exists(), line


def test_the_table_of_variables_is_that_of_the_settings() -> None:
    settings = (PROJECT_ROOT / "project/settings.py").read_text()
    read = set(re.findall(r"env\.\w+\(\s*\"(\w+)\"", settings))
    page = (PROJECT_ROOT / "docs/settings.md").read_text()
    table = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", page.split("## Variables")[1].split("\n## ")[0]))
    assert table == read


def test_every_test_that_the_security_page_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (PROJECT_ROOT / "docs/security.md").read_text()))
    there = {
        name
        for folder in ("tests", ".ci/tests")
        for path in (PROJECT_ROOT / folder).rglob("test_*.py")
        for name in re.findall(r"^\s*(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert len(named) > 30
    assert named - there == set()


def test_the_policies_of_the_policies_page_are_such() -> None:
    text = (PROJECT_ROOT / "docs/policies.md").read_text()
    policies = []
    for snippet in re.findall(r"```python\n# a policy\n(.*?)```", text, re.DOTALL):
        names: dict[str, Any] = {}
        exec(snippet, names)
        policies.append(names["policy"])
    limited, chosen = policies
    assert limited.max_messages_per_second == 20
    assert [chosen.allowed_origins(origin, {}) for origin in ("https://app.example.org", None, "null")] == [1, 1, 0]


def test_the_committed_asyncapi_document_is_up_to_date() -> None:
    call_command("asyncapi", "--check")


def test_the_user_model_of_the_accounts_page_is_the_one_that_the_suite_runs_with() -> None:
    page = (PROJECT_ROOT / "docs/accounts.md").read_text()
    shown = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for block, name in zip(shown, ("models.py", "admin.py"), strict=True):
        tested = (PROJECT_ROOT / "tests/email_login" / name).read_text()
        # The name of a module decides where its import is sorted.
        assert sorted(block.splitlines()) == sorted(
            tested.replace("tests.email_login", "realtime.accounts").splitlines()
        )


def test_the_endpoint_of_the_topics_page_is_the_one_that_is_tested() -> None:
    page = (PROJECT_ROOT / "docs/topics.md").read_text()
    [shown] = re.findall(r"^```python\n# realtime/endpoints/board.py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert shown == (PROJECT_ROOT / "tests/engine/topics/board.py").read_text()
