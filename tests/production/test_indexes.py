"""PostgreSQL finds messages by its indexes, however many there are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from realtime.engine.testing import PROJECT_ROOT, PostgresProcess

#: Enough for the planner to prefer an index to reading the whole table.
MODERATE = 50_000
MANY = 1_000_000


def explain(postgresql_server: PostgresProcess, messages: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("explain.py")), str(messages)],
        cwd=PROJECT_ROOT,
        env={**os.environ, "DATABASE_URL": postgresql_server.create_database(), "PYTHONPATH": str(PROJECT_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("messages", [MODERATE, pytest.param(MANY, marks=[pytest.mark.soak, pytest.mark.timeout(600)])])
def test_no_query_reads_the_whole_table_of_messages(postgresql_server: PostgresProcess, messages: int) -> None:
    report = explain(postgresql_server, messages)
    for name, action in report.items():
        assert not [node for node in action["nodes"] if node.startswith("Seq Scan")], (name, action)
    # All of these look at messages.
    for name in ("store again", "join", "resume", "page of history", "repair a gap", "find the age", "prune"):
        assert report[name]["nodes"], (name, report[name])
