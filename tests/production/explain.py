"""Fills a PostgreSQL database with messages, and prints how it finds them: ``explain.py MESSAGES``, with DATABASE_URL.

It is a program of its own because the tests' own Django is connected to SQLite.
"""

from __future__ import annotations

# ruff: noqa: E402
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

import django

django.setup()

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from realtime.engine import Position
from realtime.engine.testing import create_user
from realtime.rooms.models import Room, topic_of
from realtime.rooms.permissions import Person, Standing
from realtime.rooms.services import oldest_kept, prune_room
from realtime.rooms.store import ROOM_STORE, Write

ROOMS = 10
FILL = """
    INSERT INTO rooms_roommessage
        (room_id, seq, author_id, name, content, at, connection, idempotency_key, is_hidden)
    SELECT room.id, n, %s, 'ann', 'message ' || n, now() - (%s - n) * interval '1 second', '', 'key-' || n, false
    FROM rooms_room AS room, generate_series(1, %s) AS n
"""


def fill(messages: int) -> Room:
    call_command("migrate", verbosity=0)
    user = create_user("ann")
    each = messages // ROOMS
    for number in range(ROOMS):
        Room.objects.create(slug=f"room-{number}", last_seq=each)
    with connection.cursor() as cursor:
        cursor.execute(FILL, [user.pk, each, each])
        cursor.execute("ANALYZE")
    return Room.objects.get(slug="room-3")


def actions(room: Room) -> Iterator[tuple[str, Callable[[], Any]]]:
    user = get_user_model().objects.get()
    person = Person.of(user, "connection")
    write = Write(room.pk, room.slug, person, "hello", "ref-1", "connection", Standing.MEMBER, room.access_version)
    middle = room.last_seq // 2
    topic = topic_of(room.slug)
    yield "store", lambda: ROOM_STORE.append([write])
    yield "store again", lambda: ROOM_STORE.append([write])
    yield "join", lambda: ROOM_STORE.recover(topic, None)
    yield "resume", lambda: ROOM_STORE.recover(topic, Position(epoch=str(room.epoch), seq=room.last_seq - 100))
    yield "page of history", lambda: ROOM_STORE.read_before(topic, middle, 50)
    yield "repair a gap", lambda: ROOM_STORE.read_between(topic, middle, middle + 20)
    yield "compare counters", lambda: ROOM_STORE.heads([topic])
    yield "find the age", lambda: oldest_kept(room, timezone.now(), 10)
    yield "prune", lambda: prune_room(room, 200, batch=100)


def plan(sql: str) -> list[dict[str, Any]]:
    """Return the nodes of a query's plan."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("EXPLAIN (FORMAT JSON) " + sql)
        return list(nodes(cursor.fetchone()[0][0]["Plan"]))


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from nodes(child)


def main(messages: int) -> None:
    room = fill(messages)
    report = {}
    for name, action in actions(room):
        with CaptureQueriesContext(connection) as captured:
            start = time.perf_counter()
            action()
            took = time.perf_counter() - start
        queries = [query["sql"] for query in captured.captured_queries if "rooms_roommessage" in query["sql"]]
        found = [node for sql in queries for node in plan(sql) if node.get("Relation Name") == "rooms_roommessage"]
        report[name] = {
            "ms": round(took * 1000, 2),
            "queries": len(queries),
            "nodes": sorted({f"{node['Node Type']} {node.get('Index Name', '')}".strip() for node in found}),
        }
    json.dump(report, sys.stdout, indent=2)


if __name__ == "__main__":
    main(int(sys.argv[1]))
