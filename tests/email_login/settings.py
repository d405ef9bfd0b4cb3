"""The settings of the tests, with users who log in by their email address."""

from __future__ import annotations

from project.settings import BASE_DIR
from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS, TEMPLATES

AUTH_USER_MODEL = "users.User"
INSTALLED_APPS = ["tests.email_login" if app == "realtime.accounts" else app for app in INSTALLED_APPS]
# The pages of realtime.accounts are for any user model; only its own model is not there.
TEMPLATES[0]["DIRS"].append(BASE_DIR / "realtime/accounts/templates")
