"""The settings of the engine's tests, with endpoints that have topics."""

from __future__ import annotations

from tests.engine.settings import *  # noqa: F403

REALTIME_ROUTING = "tests.engine.topics.routing"
