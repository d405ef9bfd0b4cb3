"""The composition root: what is loaded before the first connection is loaded for good."""

from __future__ import annotations

import json
import subprocess
import sys

from realtime.engine.testing import PROJECT_ROOT

PROGRAM = """
import gc, json, sys
import project.asgi
from project.urls import urlpatterns
print(json.dumps({
    "frozen": gc.get_freeze_count(),
    "left": len(gc.get_objects()),
    "views": "realtime.rooms.views" in sys.modules,
}))
"""


def loaded() -> dict[str, int]:
    """Import the application as a server does, in a process of its own."""
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(found.stdout)


def test_garbage_collector_does_not_look_at_what_was_loaded_again() -> None:
    found = loaded()
    assert found["frozen"] > 50_000
    assert found["left"] < found["frozen"] / 50


def test_views_are_imported_before_the_first_request() -> None:
    assert loaded()["views"]
