"""The project's settings, with the endpoints of these tests instead of the project's own."""

from __future__ import annotations

from project.settings import *  # noqa: F403

REALTIME_ROUTING = "tests.engine.routing"
#: Quick: no test is about the hashes of passwords.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
