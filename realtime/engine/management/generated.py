"""What the commands that generate a committed file have in common."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

__all__ = ["GeneratedFileCommand"]


class GeneratedFileCommand(BaseCommand):
    """Writes a file, or fails with ``--check`` where the file is not what would be written.

    Attributes:
        path: the file, relative to ``settings.BASE_DIR``.
    """

    path: str

    def add_arguments(self, parser: CommandParser) -> None:
        """Take ``--check`` and ``--output``."""
        parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is out of date")
        parser.add_argument("--output", type=Path, default=settings.BASE_DIR / self.path, help="path of the file")

    @abstractmethod
    def content(self) -> str:
        """Return what the file has to hold."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Write or check."""
        path: Path = options["output"]
        text = self.content()
        if not options["check"]:
            path.write_text(text, encoding="utf-8")
            self.stdout.write(f"Wrote {path}")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            command = type(self).__module__.rpartition(".")[2]
            raise CommandError(f"{path} is out of date. Run 'manage.py {command}' and commit the file.")
