"""The project's settings, with the endpoints of these tests instead of the project's own."""

from __future__ import annotations

from project.settings import *  # noqa: F403

REALTIME_ROUTING = "tests.engine.routing"
