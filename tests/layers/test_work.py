"""Channels without an owner: nothing is lost when a worker gives up."""

from __future__ import annotations

import asyncio

from realtime.layers import work


async def test_a_message_that_comes_for_a_worker_that_has_gone_is_the_next_ones(make_process, taken, monkeypatch):
    monkeypatch.setattr(work, "BLOCK", 1.0)
    leaving, staying, sender = make_process(), make_process(), make_process()
    receiving = asyncio.create_task(leaving.receive("work"))
    await sender.check()
    await asyncio.sleep(0.1)  # until the request of the worker that leaves waits in Redis
    receiving.cancel()
    await asyncio.wait([receiving])
    await sender.send("work", {"type": "job"})
    assert await taken(staying, "work") == {"type": "job"}


async def test_work_that_cannot_be_read_is_counted_and_the_worker_goes_on(make_process, taken, caplog):
    sender = make_process(symmetric_encryption_keys=["one"])
    worker, other = (make_process(symmetric_encryption_keys=["two"]) for _ in range(2))
    await sender.send("work", {"type": "unreadable"})
    await other.send("work", {"type": "readable"})
    assert await taken(worker, "work") == {"type": "readable"}
    assert worker.statistics.undecodable == 1
    assert "Work of channel work is lost" in caplog.text
