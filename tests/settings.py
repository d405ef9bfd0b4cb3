"""The project's settings, for the tests and for the servers that they start."""

from __future__ import annotations

from project.settings import *  # noqa: F403

#: Quick: each login costs a third of a second with the hasher of production.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
