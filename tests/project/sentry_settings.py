"""The project's settings, with one endpoint and one page that fail."""

from tests.settings import *  # noqa: F403

REALTIME_ROUTING = "tests.project.failing"
ROOT_URLCONF = "tests.project.failing"
