"""The command line of ``daphne``, with uvloop and an application."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec


def main(application: str, arguments: Sequence[str]) -> None:
    """Run Daphne.

    Args:
        application: the ASGI application to serve unless the arguments name one, as ``module:name``.
        arguments: what follows the program's name.
    """
    use_uvloop()
    from daphne.cli import CommandLineInterface  # makes an event loop while it is imported, unless there is one

    interface = CommandLineInterface()
    interface.parser.prog = f"python -m {application.partition('.')[0]}"
    for action in interface.parser._actions:
        if action.dest == "application":
            action.nargs, action.default = "?", application
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
