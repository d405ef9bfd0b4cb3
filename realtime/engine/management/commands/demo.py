"""``manage.py demo``: a database to try the project with."""

from __future__ import annotations

import secrets
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from realtime.engine.auth.logins import DOMAIN, login_name

__all__ = ["Command"]


class Command(BaseCommand):
    """Migrates the database, and creates an admin, a user and the demo data of the apps unless they are there.

    Where users log in by their email address, they are admin@example.com and ann@example.com.
    An app adds its own by a method ``create_demo_data()`` of its ``AppConfig``; it is called at each run.
    """

    help = "Migrate the database and create demo data: the users 'admin' and 'ann', and what the apps add."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take ``--password``."""
        parser.add_argument("--password", help="password of both users; a random one for each by default")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create what is missing, and say how to log in."""
        if not settings.DEBUG:
            raise CommandError("Demo data is for development; DJANGO_DEBUG is off.")
        call_command("migrate", verbosity=0)
        self._create_user("admin", "administrator, for /admin/", options["password"], is_admin=True)
        self._create_user("ann", "ordinary user", options["password"], is_admin=False)
        for config in apps.get_app_configs():
            if hasattr(config, "create_demo_data"):
                config.create_demo_data()

    def _create_user(self, name: str, role: str, password: str | None, *, is_admin: bool) -> None:
        model: Any = get_user_model()
        users = model._default_manager
        login = login_name(name)
        if users.filter(**{model.USERNAME_FIELD: login}).exists():
            return
        password = password or secrets.token_urlsafe(12)
        # Both have an email address, so that a link to a new password can be tried.
        fields = {model.get_email_field_name(): f"{name}@{DOMAIN}", model.USERNAME_FIELD: login}
        create = users.create_superuser if is_admin else users.create_user
        create(**fields, password=password)
        self.stdout.write(f"Created the {role}: {self.style.SUCCESS(login)} / {self.style.SUCCESS(password)}")
