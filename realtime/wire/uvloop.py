"""uvloop for Twisted's reactor.

When a peer resets a connection, libuv gives up the descriptor's poll handle without a word. Twisted learns of it only
when it tries to write, and then uvloop refuses with ``RuntimeError``, so that the descriptor would stay open for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import uvloop

__all__ = ["ReactorLoop", "ReactorLoopPolicy"]


class ReactorLoop(uvloop.Loop):
    """An event loop whose descriptors can be written to after libuv gave them up: the write tells what is wrong."""

    def add_writer(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        """Call ``callback`` when ``fd`` can be written to."""
        try:
            super().add_writer(fd, callback, *args)
        except RuntimeError:
            self.remove_reader(fd)  # drops the dead handle
            super().add_writer(fd, callback, *args)


class ReactorLoopPolicy(uvloop.EventLoopPolicy):
    """Lets every new event loop be a ``ReactorLoop``."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """Return a new event loop."""
        return ReactorLoop()
