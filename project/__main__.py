"""``python -m project``: the command line of ``daphne``, with uvloop and this project's application.

::

    python -m project -b 0.0.0.0 -p 8000
    python -m project -b 0.0.0.0 -p 8000 another.module:application
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

__all__ = ["main"]

APPLICATION = "project.asgi:application"


def main(arguments: Sequence[str]) -> None:
    """Run Daphne.

    Args:
        arguments: what follows the program's name.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    use_uvloop()
    from daphne.cli import CommandLineInterface  # makes its event loop while it is imported

    interface = CommandLineInterface()
    interface.parser.prog = "python -m project"
    for action in interface.parser._actions:
        if action.dest == "application":
            action.nargs, action.default = "?", APPLICATION
    interface.run(list(arguments))


def use_uvloop() -> None:
    """Let the event loops of this process be uvloop's, where it is installed."""
    if find_spec("uvloop") is None:
        return
    from realtime.wire.uvloop import ReactorLoopPolicy

    asyncio.set_event_loop_policy(ReactorLoopPolicy())


if __name__ == "__main__":
    main(sys.argv[1:])
