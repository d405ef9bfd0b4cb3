"""One write for each connection and iteration."""

from __future__ import annotations

import asyncio

import pytest

from realtime.wire.flush import Flusher


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
