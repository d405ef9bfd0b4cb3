from __future__ import annotations

import asyncio
import threading

import pytest
from django.db import connections

from realtime.engine.services.database import DatabaseCheck, DatabaseThreads

pytestmark = pytest.mark.django_db(transaction=True)


async def test_checks_of_a_hung_database_take_one_thread_however_many_ask() -> None:
    began, release = threading.Event(), threading.Event()
    calls = []

    def hang() -> None:
        calls.append(threading.current_thread())
        began.set()
        release.wait()

    check = DatabaseCheck(hang)
    waiting = [asyncio.create_task(check()) for _ in range(20)]
    await asyncio.to_thread(began.wait)
    waiting[0].cancel()
    await asyncio.wait(waiting[:1])
    release.set()
    await asyncio.gather(*waiting[1:])
    assert len(calls) == 1
    await check()
    assert len(calls) == 2


async def test_a_check_that_fails_after_everybody_has_left_disturbs_nobody() -> None:
    release = threading.Event()

    def fail() -> None:
        release.wait()
        raise ConnectionError

    check = DatabaseCheck(fail)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(check(), 0.01)
    release.set()
    with pytest.raises(ConnectionError):
        await check()


async def test_each_thread_closes_its_own_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(connections, "close_all", lambda: closed.append(threading.current_thread().name))
    threads = DatabaseThreads("both", 2)
    await threads.run(int)
    await asyncio.to_thread(threads.close)
    assert sorted(closed) == ["both_0", "both_1"]
