"""The members of a room after one of its processes was killed."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from realtime.engine.testing import RedisProcess, ServerProcess, login_name

ALICE, BOB, CAROL, DAVE = (login_name(name) for name in ("alice", "bob", "carol", "dave"))

#: Seconds within which the members of a killed process have to vanish.
GRACE = 30


@pytest.fixture
async def own_site(site: Any, postgresql_environment: dict[str, str], redis_server: RedisProcess) -> AsyncIterator[Any]:
    """Three processes of this test's own."""
    environment = {**postgresql_environment, "REDIS_URL": redis_server.url}
    with (
        ServerProcess(env=environment) as first,
        ServerProcess(env=environment) as second,
        ServerProcess(env=environment) as third,
    ):
        own = type(site)([first, second, third], environment)
        yield own
        await own.close()


@pytest.mark.soak
@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
async def test_each_member_of_a_killed_process_leaves_once(own_site: Any, room: str) -> None:
    first, second, doomed = own_site.processes
    witnesses = [await own_site.client("alice", process=first), await own_site.client("bob", process=second)]
    for witness in witnesses:
        await witness.join(room)
    for user in ("carol", "dave"):
        await (await own_site.client(user, process=doomed)).join(room)
    for witness in witnesses:
        await witness.until("Presence", user=DAVE, state="joined")
    killed = time.monotonic()
    await asyncio.to_thread(doomed.kill)
    for witness in witnesses:
        gone = {(await witness.until("Presence", state="left"))["user"] for _ in range(2)}
        assert gone == {CAROL, DAVE}
    assert time.monotonic() - killed < GRACE
    # A new arrival comes after everything that was sent before.
    newcomer = await own_site.client("carol", process=second)
    assert (await newcomer.join(room))["members"] == [ALICE, BOB, CAROL]
    for witness in witnesses:
        assert [await witness.until("Presence")] == [
            {"type": "Presence", "room": room, "user": CAROL, "state": "joined"}
        ]


@pytest.mark.soak
@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
async def test_the_members_of_a_process_that_hung_come_back_with_it(own_site: Any, room: str) -> None:
    first, _, hung = own_site.processes
    alice = await own_site.client("alice", process=first)
    carol = await own_site.client("carol", process=hung)
    await alice.join(room)
    await carol.join(room)
    await alice.until("Presence", user=CAROL, state="joined")
    hung.process.send_signal(signal.SIGSTOP)
    try:
        await alice.until("Presence", user=CAROL, state="left")
        await alice.say("while you were away")
    finally:
        hung.process.send_signal(signal.SIGCONT)
    assert (await carol.until("Chat"))["content"] == "while you were away"
    await alice.until("Presence", user=CAROL, state="joined")
    await carol.say("back again")
    assert (await alice.until("Chat"))["content"] == "back again"
