"""What the documents say of Sentry and OpenTelemetry is what the tests of both try: three lines of environment each."""

from __future__ import annotations

import re

import pytest

from realtime.engine.testing import PROJECT_ROOT

PAGES = {
    "docs/tracing.md": "tests/engine/monitoring/tracing/test_processes.py",
    "docs/operations.md": "tests/project/test_sentry.py",
}


@pytest.mark.parametrize("page", PAGES)
def test_the_three_lines_of_a_page_are_those_that_its_test_sets(page: str) -> None:
    [block] = re.findall(r"```ini\n(.*?)```", (PROJECT_ROOT / page).read_text(), re.DOTALL)
    names = [line.partition("=")[0] for line in block.splitlines()]
    assert len(names) == 3
    tests = (PROJECT_ROOT / PAGES[page]).read_text()
    assert [name for name in names if name not in tests] == []


def test_the_requirements_of_sentry_are_those_of_the_tests() -> None:
    [line] = re.findall(r"^sentry-sdk.*", (PROJECT_ROOT / "requirements-sentry.txt").read_text(), re.MULTILINE)
    assert line in (PROJECT_ROOT / "requirements-dev.txt").read_text().splitlines()
