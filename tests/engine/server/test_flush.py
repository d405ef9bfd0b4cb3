"""One write for each connection and iteration."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable

import pytest

from realtime.engine.server.flush import Flusher
from realtime.engine.server.uvloop import ReactorLoop


class Sink:
    is_flushing = False

    def __init__(self, *, fails: bool = False) -> None:
        self.flushes = 0
        self.fails = fails
        self.done = asyncio.Event()

    def flush(self) -> None:
        self.is_flushing = False
        self.flushes += 1
        self.done.set()
        if self.fails:
            raise RuntimeError("deliberate")


async def test_everything_is_flushed_by_the_end_of_the_iteration() -> None:
    flusher = Flusher.of(asyncio.get_running_loop())
    sinks = [Sink() for _ in range(3)]
    for sink in sinks:
        flusher.add(sink)
    assert [sink.flushes for sink in sinks] == [0, 0, 0]
    await asyncio.gather(*(sink.done.wait() for sink in sinks))
    assert [sink.flushes for sink in sinks] == [1, 1, 1]


async def test_one_that_fails_does_not_keep_the_others_from_being_flushed(caplog: pytest.LogCaptureFixture) -> None:
    flusher = Flusher.of(asyncio.get_running_loop())
    bad, good = Sink(fails=True), Sink()
    flusher.add(bad)
    flusher.add(good)
    await good.done.wait()
    assert good.flushes == 1
    assert "could not be written" in caplog.text


async def test_there_is_one_for_each_loop() -> None:
    loop = asyncio.get_running_loop()
    assert Flusher.of(loop) is Flusher.of(loop)


@pytest.mark.parametrize("new_loop", [asyncio.SelectorEventLoop, ReactorLoop])
def test_a_loop_that_was_closed_is_freed(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def flush_and_leave_one_waiting() -> weakref.ref[asyncio.AbstractEventLoop]:
        loop = asyncio.get_running_loop()
        for _ in range(2):
            sink = Sink()
            sink.loop = loop  # type: ignore[attr-defined]  # as a session holds it
            Flusher.of(loop).add(sink)
            await asyncio.sleep(0)
        Flusher.of(loop).add(sink)
        return weakref.ref(loop)

    loop = new_loop()
    freed = loop.run_until_complete(flush_and_leave_one_waiting())
    loop.close()
    del loop
    gc.collect()
    assert freed() is None
