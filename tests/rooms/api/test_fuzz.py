"""What the schema of the API describes, and what it forbids, made up: nothing is an error of the server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from realtime.engine.testing import login_name

#: Rooms and users that exist, so that requests get past the address; ``test_values`` has the other addresses.
CONFIGURATION = """
[parameters]
"path.room" = "lobby"
"path.user" = "{user}"
"""

#: Ends the token that all other requests need.
EXCLUDED = "/api/logout-everywhere/"


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_no_request_that_can_be_made_up_is_an_error_of_the_server(admin: Any, tmp_path: Path) -> None:
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION.format(user=login_name("ann")))
    options = {
        "--checks": "not_a_server_error",
        "--exclude-path": EXCLUDED,
        "--header": f"Authorization: {admin.headers['Authorization']}",
        "--max-examples": "20",
        "--mode": "all",
        "--phases": "coverage,fuzzing",
        # The same requests each time: what fails once fails again.
        "--seed": "1",
        "--generation-database": "none",
    }
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration), "run", "--no-color"]
    arguments = [part for option in options.items() for part in option]
    result = subprocess.run(
        [*command, *arguments, admin.server.http("/api/schema/")], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
