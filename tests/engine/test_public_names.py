"""The public names of the engine, and when each can be imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import realtime.engine
from realtime.engine.testing import PROJECT_ROOT

#: Names that need Django's models, and so the app registry.
NEED_APPS = {
    "Authentication",
    "DatabaseStore",
    "LiveConnection",
    "LiveUserMixin",
    "MemoryStore",
    "PolicyConsumer",
    "TopicConsumer",
    "TooManyAttempts",
    "limit_requests",
    "log_out_everywhere",
    "publish",
    "recheck_topic",
    "verify_access_token",
}

PROGRAM = """
import sys
from django.core.exceptions import AppRegistryNotReady
import realtime.engine

for name in sys.argv[1:]:
    try:
        getattr(realtime.engine, name)
    except AppRegistryNotReady:
        print(name)
"""


def test_names_are_importable_before_the_apps_are_loaded_but_for_those_that_need_models() -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "project.settings"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *realtime.engine.__all__],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == NEED_APPS


@pytest.mark.parametrize("name", realtime.engine.__all__)
def test_every_public_name_exists_and_is_listed(name: str) -> None:
    assert getattr(realtime.engine, name) is not None
    assert name in dir(realtime.engine)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Consumer'"):
        realtime.engine.Consumer  # noqa: B018
