"""The project's settings, with the endpoints of these tests instead of the project's own."""

from __future__ import annotations

import importlib
import os

_project = importlib.import_module(os.environ.get("PROJECT_SETTINGS_MODULE", "project.settings"))
globals().update({name: value for name, value in vars(_project).items() if name.isupper()})

REALTIME_ROUTING = "tests.engine.routing"
#: Quick: no test is about the hashes of passwords.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
