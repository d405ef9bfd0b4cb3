"""``python -m project``: the command line of ``daphne``, with uvloop and this project's application.

::

    python -m project -b 0.0.0.0 -p 8000
    python -m project -b 0.0.0.0 -p 8000 another.module:application
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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
    from daphne.cli import CommandLineInterface  # makes an event loop while it is imported, unless there is one

    interface = CommandLineInterface()
    interface.parser.prog = "python -m project"
    for action in interface.parser._actions:
        if action.dest == "application":
            action.nargs, action.default = "?", APPLICATION
    interface.run(list(arguments))


def use_uvloop() -> None:
    """Let the event loop of the server be uvloop's, where it is installed.

    Daphne keeps a reactor that is there when ``daphne.server`` is imported; ``ASGI_THREADS`` would
    then have no effect, so this function applies it.
    """
    if find_spec("uvloop") is None:
        return
    from twisted.internet import asyncioreactor

    from realtime.engine.server.uvloop import ReactorLoop

    loop = ReactorLoop()
    if threads := os.environ.get("ASGI_THREADS"):
        loop.set_default_executor(ThreadPoolExecutor(int(threads)))
    asyncioreactor.install(loop)


if __name__ == "__main__":
    main(sys.argv[1:])
