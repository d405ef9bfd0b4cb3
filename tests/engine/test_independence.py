"""The tests of the engine know nothing that the project's owner may have deleted."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

OWNED = ("realtime.rooms", "realtime.accounts", "realtime.console", "realtime.endpoints", "realtime.routing")


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_test_of_the_engine_imports_what_the_owner_edits() -> None:
    files = list(Path(__file__).parent.rglob("*.py"))
    assert len(files) > 20
    found = {(path.name, name) for path in files for name in imports_of(path)}
    assert {item for item in found if f"{item[1]}.".startswith(tuple(f"{name}." for name in OWNED))} == set()
