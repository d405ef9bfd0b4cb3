"""``.ci/audit``: what it makes of pip-audit's answers. A stand-in gives them, as each test needs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from realtime.engine.testing import PROJECT_ROOT

SCRIPT = PROJECT_ROOT / ".ci/audit"
DJANGO = {"name": "django", "version": "5.2", "vulns": []}
SAFE = {"name": "safe", "version": "1.0", "vulns": []}
BAD = {"name": "bad", "version": "1.0", "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["1.1"], "aliases": []}]}
SKIPPED = {"name": "own", "skip_reason": "Dependency not found on PyPI"}

#: Answers as pip-audit does: about a file, with a report or with an error.
STAND_IN = """#!{python}
import json, pathlib, sys
answers = json.loads(pathlib.Path({answers!r}).read_text())
asked = pathlib.Path(sys.argv[sys.argv.index("--requirement") + 1]).read_text()
packages = answers["sample" if asked.startswith("Django==") else "file"]
if packages is None:
    sys.exit("ERROR:pip_audit._cli:Failed to connect to PyPI")
print(json.dumps(dict(dependencies=packages, fixes=[])))
sys.exit(any(package.get("vulns") for package in packages))
"""


@pytest.mark.parametrize(
    ("sample", "file", "status", "output"),
    [
        ([DJANGO], [SAFE], 0, "1 packages, 0 with a known vulnerability"),
        ([DJANGO], [SAFE, BAD], 1, "bad 1.0: PYSEC-2026-1, fixed in 1.1"),
        ([DJANGO], [SAFE, SKIPPED], 0, "not looked up: own: Dependency not found on PyPI"),
        ([DJANGO | {"vulns": BAD["vulns"]}], [SAFE], 0, "1 packages, 0 with"),
        ([SKIPPED], [BAD], 0, "nothing was looked up, the index of vulnerabilities cannot be reached: Dependency not"),
        (None, [BAD], 0, "nothing was looked up, the index of vulnerabilities cannot be reached: ERROR:pip_audit"),
        ([DJANGO], None, 0, "the index has stopped answering: ERROR:pip_audit"),
    ],
)
def test_a_vulnerability_fails_and_an_index_out_of_reach_does_not(
    tmp_path: Path, sample: object, file: object, status: int, output: str
) -> None:
    answers, program, requirements = tmp_path / "answers", tmp_path / "pip-audit", tmp_path / "requirements.txt"
    answers.write_text(json.dumps({"sample": sample, "file": file}))
    program.write_text(STAND_IN.format(python=sys.executable, answers=str(answers)))
    program.chmod(0o755)
    requirements.write_text("safe==1.0\n")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(requirements)],
        env=os.environ | {"PIP_AUDIT": str(program)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stderr
    assert output in done.stdout
