"""The settings of the tests, with the endpoints of the conformance script."""

from tests.settings import *  # noqa: F403

REALTIME_ROUTING = "conformance_routing"
