"""``manage.py generateclient``: typed clients of the WebSocket endpoints, for a browser, for Node and for Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from realtime.engine.describe.endpoints import describe_endpoints
from realtime.engine.describe.generate import LANGUAGES, MARK, client_files

__all__ = ["Command"]

#: Where the pages of the site load a client from, and where a client in Python stands, relative to the project.
_FOLDERS = {"typescript": "static/client", "python": "client"}


class Command(BaseCommand):
    """Writes the files of a client, or compares them with those that are there."""

    help = "Write a typed client of the endpoints, or fail with --check if a file is not what they say."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the language, ``--output`` and ``--check``."""
        parser.add_argument("language", choices=LANGUAGES)
        parser.add_argument(
            "--output",
            type=Path,
            metavar="DIR",
            help="folder of the client, complete with its runtime; by default static/client for TypeScript, which uses "
            "the runtime that the site serves, and client for Python",
        )
        parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write or check."""
        language: str = options["language"]
        default: Path = settings.BASE_DIR / _FOLDERS[language]
        folder: Path = options["output"] or default
        try:
            files = client_files(language, describe_endpoints(), served=options["output"] is None)
        except ValueError as error:
            raise CommandError(str(error)) from None
        mark = MARK.format(language=language)
        stale = [path for path in sorted(folder.glob("*.*")) if path.name not in files and _says(path, mark)]
        changed = [name for name, text in files.items() if not _holds(folder / name, text)]
        if options["check"]:
            names = [*changed, *(path.name for path in stale)]
            if names:
                raise CommandError(
                    f"{folder} is out of date ({', '.join(names)}). Run 'manage.py generateclient {language}' with the "
                    "same --output, and commit the files."
                )
            return
        folder.mkdir(parents=True, exist_ok=True)
        for path in stale:
            path.unlink()
        for name in changed:
            (folder / name).write_text(files[name], encoding="utf-8")
        self.stdout.write(f"Wrote {len(files)} files to {folder}")


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _says(path: Path, mark: str) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return mark in file.readline()
