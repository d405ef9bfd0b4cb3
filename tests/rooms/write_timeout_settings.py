"""The settings of the tests, where a message may wait a second for the database."""

import importlib
import os

_tests = importlib.import_module(os.environ["PROJECT_SETTINGS_MODULE"])
globals().update({name: value for name, value in vars(_tests).items() if name.isupper()})

REALTIME_TOPICS = {"write_timeout": 1}
