"""``manage.py asyncapi``: the description of the WebSocket API as a file, or a check that the file is up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from realtime.engine.describe.asyncapi import asyncapi_document
from realtime.engine.describe.endpoints import PROJECT_ROOT, describe_endpoints
from realtime.routing import websocket_urlpatterns

__all__ = ["DEFAULT_PATH", "Command"]

DEFAULT_PATH = PROJECT_ROOT / "docs" / "asyncapi.json"

#: The committed file describes the server that ``make run`` starts.
_HOST = "127.0.0.1:8000"


class Command(BaseCommand):
    """Writes the AsyncAPI document, or compares it with the file."""

    help = "Write docs/asyncapi.json, or fail with --check if it is not what routes, policies and messages say."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take ``--check`` and ``--output``."""
        parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is out of date")
        parser.add_argument("--output", type=Path, default=DEFAULT_PATH, help="path of the file")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write or check."""
        path: Path = options["output"]
        document = asyncapi_document(describe_endpoints(websocket_urlpatterns), host=_HOST, protocol="ws")
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        if not options["check"]:
            path.write_text(text, encoding="utf-8")
            self.stdout.write(f"Wrote {path}")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            raise CommandError(f"{path} is out of date. Run 'manage.py asyncapi' and commit the file.")
