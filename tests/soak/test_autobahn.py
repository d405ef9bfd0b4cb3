"""The Autobahn test suite against ``/ws`` with its own policy, where the suite is to be had.

``PATH=$(.ci/autobahn):$PATH make soak T=tests/soak/test_autobahn.py`` installs it, with Python 2.7, and runs it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from realtime.engine.testing import ServerProcess

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

#: What the suite calls a pass; "non-strict" is a legal order of two things, "informational" has no right answer.
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}
#: ``AUTOBAHN_CASES="1.* 2.*"`` runs a part.
CASES = os.environ.get("AUTOBAHN_CASES", "*").split()
APPLICATIONS = {"plain": "project.asgi:application", "compressed": "tests.soak.compressed:application"}


@pytest.mark.parametrize("kind", APPLICATIONS)
def test_autobahn_suite_passes(tmp_path: Path, kind: str) -> None:
    program = shutil.which("wstest")
    if program is None:
        pytest.skip("wstest is not installed (autobahntestsuite, Python 2.7)")
    command = (sys.executable, "-m", "daphne", "-v", "0", "-p", "{port}", APPLICATIONS[kind])
    with ServerProcess(command, env={"DJANGO_LOG_LEVEL": "WARNING"}) as server:
        results = run_suite(program, server.ws("/ws"), tmp_path, [] if kind == "compressed" else ["12.*", "13.*"])
    failed = {
        case: result["behavior"]
        for case, result in results.items()
        if result["behavior"] not in PASSED or result["behaviorClose"] not in PASSED
    }
    assert results
    assert failed == {}


def run_suite(program: str, url: str, directory: Path, excluded: list[str]) -> dict[str, Any]:
    """Return what each case found."""
    specification: dict[str, Any] = {
        "outdir": str(directory),
        "servers": [{"agent": "wire", "url": url}],
        "cases": CASES,
        "exclude-cases": excluded,
        "exclude-agent-cases": {},
    }
    path = directory / "specification.json"
    path.write_text(json.dumps(specification))
    subprocess.run([program, "-m", "fuzzingclient", "-s", str(path)], check=True, capture_output=True, cwd=directory)
    return json.loads((directory / "index.json").read_text())["wire"]
