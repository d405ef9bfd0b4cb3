"""``manage.py clienttypes``: the rooms' messages as TypeScript types, for editors and for static/realtime/client.js."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from realtime.engine.describe.endpoints import PROJECT_ROOT
from realtime.engine.describe.schemas import typescript
from realtime.rooms.protocol import ClientMessage, ServerMessage

__all__ = ["DEFAULT_PATH", "Command"]

DEFAULT_PATH = PROJECT_ROOT / "static" / "realtime" / "messages.d.ts"

_HEAD = "// Made from realtime/rooms/protocol.py by `manage.py clienttypes`. Do not edit.\n\n"


class Command(BaseCommand):
    """Writes the declarations, or compares them with the file."""

    help = "Write static/realtime/messages.d.ts, or fail with --check if it is not what the message structs say."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take ``--check`` and ``--output``."""
        parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is out of date")
        parser.add_argument("--output", type=Path, default=DEFAULT_PATH, help="path of the file")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write or check."""
        path: Path = options["output"]
        text = _HEAD + typescript(ClientMessage, ServerMessage)
        if not options["check"]:
            path.write_text(text, encoding="utf-8")
            self.stdout.write(f"Wrote {path}")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            raise CommandError(f"{path} is out of date. Run 'manage.py clienttypes' and commit the file.")
