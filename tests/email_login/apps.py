"""The app of these users."""

from __future__ import annotations

from django.apps import AppConfig


class PeopleConfig(AppConfig):
    """Has a label that comes after those of the engine: migrations must not depend on the order of names."""

    name = "tests.email_login"
    label = "users"
