"""uvloop for Twisted's reactor.

When a peer resets a connection, libuv calls the reader a last time and gives up the descriptor's poll handle without a
word. Twisted reads once each time it is called. So if there was data in front of the reset, it never learns of the
reset: the descriptor stays open until something is written to it, and then uvloop refuses with ``RuntimeError``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import uvloop

Call = tuple[Callable[..., object], tuple[Any, ...]]


class ReactorLoop(uvloop.Loop):
    """An event loop that goes on polling a descriptor that libuv gave up: reading or writing it shows what is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self._readers: dict[Any, Call] = {}

    def add_reader(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        """Call ``callback`` when ``fd`` can be read."""
        self._readers[fd] = (callback, args)
        try:
            super().add_reader(fd, self._read, fd)
        except RuntimeError:
            super().remove_reader(fd)  # drops the dead handle
            super().add_reader(fd, self._read, fd)

    def remove_reader(self, fd: Any) -> bool:
        """Call it no more; return whether there was one, which uvloop does not."""
        super().remove_reader(fd)
        return self._readers.pop(fd, None) is not None

    def add_writer(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        """Call ``callback`` when ``fd`` can be written to."""
        try:
            super().add_writer(fd, callback, *args)
        except RuntimeError:
            super().remove_reader(fd)
            super().add_writer(fd, callback, *args)

    def _read(self, fd: Any) -> None:
        callback, args = self._readers[fd]
        callback(*args)
        if fd in self._readers:
            self.call_soon(self._read_on, fd)  # the handle is given up after this call, not before

    def _read_on(self, fd: Any) -> None:
        if reader := self._readers.get(fd):
            callback, args = reader
            self.add_reader(fd, callback, *args)
