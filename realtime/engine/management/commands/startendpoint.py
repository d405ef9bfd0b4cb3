"""``manage.py startendpoint``: a consumer with its policy, its route and its tests."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from realtime.engine.describe.scaffold import add_route, check_name, consumer_source, tests_source

__all__ = ["Command"]


class Command(BaseCommand):
    """Writes the files of a new endpoint."""

    help = "Make an endpoint: realtime/endpoints/NAME.py, its route in realtime/routing.py, and tests that pass."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the name."""
        parser.add_argument("name", help="words in lower case with '_' between, like stock_ticker")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write everything, or nothing."""
        routing = settings.BASE_DIR / "realtime" / "routing.py"
        try:
            name = check_name(options["name"])
            new_routing = add_route(routing.read_text(encoding="utf-8"), name)
        except ValueError as error:
            raise CommandError(str(error)) from None
        snippets = [consumer_source(name), tests_source(name)]
        for snippet in snippets:
            if (settings.BASE_DIR / snippet.file).exists():
                raise CommandError(f"{snippet.file} exists already")
        for snippet in snippets:
            (settings.BASE_DIR / snippet.file).write_text(snippet.text, encoding="utf-8")
            self.stdout.write(f"Wrote {snippet.file}")
        routing.write_text(new_routing, encoding="utf-8")
        self.stdout.write(f"Added the route to realtime/routing.py. Try it: make test T={snippets[1].file}")
