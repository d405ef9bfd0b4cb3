"""The project's settings, where a message may wait a second for the database."""

from tests.settings import *  # noqa: F403

REALTIME_ROOMS = {"write_timeout": 1}
