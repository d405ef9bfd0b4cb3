"""The settings of the engine's tests, for servers that unsubscribe from a group as soon as it has no members."""

from __future__ import annotations

from tests.engine.settings import *  # noqa: F403
from tests.engine.settings import CHANNEL_LAYERS

REALTIME_ROUTING = "tests.engine.layer.routing"

#: A test does not wait for ten seconds until a group without members is unsubscribed.
CHANNEL_LAYERS["default"]["CONFIG"]["timing"] = {"linger": 0}
