"""The Autobahn test suite, where it is to be had: ``autobahntestsuite`` from PyPI on Python 2.7.

python2.7 -m virtualenv ab27 && ab27/bin/pip install autobahntestsuite
PATH=ab27/bin:$PATH make soak
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from realtime.testing import ServerProcess

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

#: What the suite calls a pass; "non-strict" is a legal order of two things, "informational" has no right answer.
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}
#: ``AUTOBAHN_CASES="1.* 2.*"`` runs a part.
CASES = os.environ.get("AUTOBAHN_CASES", "*").split()
ECHO = {"plain": {}, "compressed": {"compression": True}}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    command = (sys.executable, "-m", "daphne", "-v", "0", "-p", "{port}", "tests.wire.apps:application")
    with ServerProcess(command, env={"DATABASE_URL": "sqlite://:memory:"}) as process:
        yield process


@pytest.mark.parametrize("kind", ECHO)
def test_autobahn_suite_passes(server: ServerProcess, tmp_path: Path, kind: str) -> None:
    program = shutil.which("wstest")
    if program is None:
        pytest.skip("wstest is not installed (autobahntestsuite, Python 2.7)")
    query = urlencode({"policy": json.dumps(ECHO[kind])})
    specification: dict[str, Any] = {
        "outdir": str(tmp_path),
        "servers": [{"agent": "wire", "url": server.ws(f"/echo?{query}")}],
        "cases": CASES,
        "exclude-cases": [] if kind == "compressed" else ["12.*", "13.*"],
        "exclude-agent-cases": {},
    }
    path = tmp_path / "specification.json"
    path.write_text(json.dumps(specification))
    subprocess.run([program, "-m", "fuzzingclient", "-s", str(path)], check=True, capture_output=True, cwd=tmp_path)
    results = json.loads((tmp_path / "index.json").read_text())["wire"]
    assert results
    failed = {
        case: result["behavior"]
        for case, result in results.items()
        if result["behavior"] not in PASSED or result["behaviorClose"] not in PASSED
    }
    assert failed == {}
