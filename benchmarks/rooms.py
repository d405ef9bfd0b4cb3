"""Messages that rooms store each second: gathered into transactions, and one transaction each.

``python -m benchmarks.rooms`` measures SQLite, and PostgreSQL where it is installed. Writers wait for the outcome of a
message before they send the next, as a client that waits for its ``Ack``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time

from realtime.engine.testing import PROJECT_ROOT, PostgresProcess, migrated_database

#: Seconds of each measurement; the databases answer in milliseconds.
SECONDS = 3.0
WRITERS = (1, 50)
GATHERED, ALONE = 500, 1


def main() -> None:
    """Measure each database in a process of its own, which knows it from its start."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.rooms", description=__doc__.splitlines()[0])
    options.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    if options.parse_args().worker:
        print(json.dumps(asyncio.run(_measure())))
        return
    _report("SQLite", f"sqlite:///{migrated_database()}")
    try:
        server = PostgresProcess()
    except FileNotFoundError as error:
        print(f"PostgreSQL: skipped, {error}")
        return
    try:
        _report("PostgreSQL", server.create_database(), migrate=True)
    finally:
        server.stop()


def _report(name: str, url: str, *, migrate: bool = False) -> None:
    environment = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "project.settings", "DJANGO_DEBUG": "1"}
    if migrate:
        _run(environment, "manage.py", "migrate", "--verbosity", "0")
    rates = json.loads(_run(environment, "-m", "benchmarks.rooms", "--worker"))
    for writers in WRITERS:
        gathered, alone = rates[f"{writers}/{GATHERED}"], rates[f"{writers}/{ALONE}"]
        print(
            f"{name:<12}{writers:>3} writers: {gathered:>8,.0f} messages/s gathered, "
            f"{alone:>7,.0f} in one transaction each: {gathered / alone:.1f} times"
        )


def _run(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=PROJECT_ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


async def _measure() -> dict[str, float]:
    import django

    django.setup()
    return {
        f"{writers}/{batch}": await _stored_per_second(writers, batch)
        for writers in WRITERS
        for batch in (ALONE, GATHERED)
    }


async def _stored_per_second(writers: int, batch: int) -> float:
    from asgiref.sync import sync_to_async
    from django.contrib.auth.models import AnonymousUser
    from django.test import override_settings

    from realtime.engine.topics.hub import Hub
    from realtime.engine.topics.store import Stored
    from realtime.rooms.models import Room
    from realtime.rooms.permissions import Person, Standing
    from realtime.rooms.store import ROOM_STORE, Write

    room, _ = await sync_to_async(Room.objects.get_or_create)(slug="bench", anonymous_may_post=True)
    stored = 0

    async def writer(number: int, hub: Hub, until: float) -> None:
        nonlocal stored
        person = Person.of(AnonymousUser(), f"{number:032x}")
        loop = asyncio.get_running_loop()
        while time.perf_counter() < until:
            outcome = loop.create_future()
            write = Write(room.pk, room.slug, person, "x" * 100, None, person.key[:32], Standing.ANONYMOUS, 0)
            await hub.submit(ROOM_STORE, write, outcome.set_result)
            assert isinstance(await outcome, Stored)
            stored += 1

    with override_settings(REALTIME_TOPICS={"batch": batch}):
        hub = Hub()
        begin = time.perf_counter()
        await asyncio.gather(*(writer(number, hub, begin + SECONDS) for number in range(writers)))
    return stored / (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
