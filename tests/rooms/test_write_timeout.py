"""A message that waits for the database: its author gets an error in time; sent again, it is stored once."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from realtime.engine.testing import ServerProcess, login_name
from realtime.engine.topics.limits import limits

#: Messages that one connection may have on the way to the database, and more than that.
PENDING = limits().pending_writes
MESSAGES = PENDING + 6


@pytest.fixture
def process(site: Any) -> Iterator[ServerProcess]:
    """A process of the site in which a message waits a second for the database."""
    environment = {
        **site.environment,
        "DJANGO_SETTINGS_MODULE": "tests.rooms.write_timeout_settings",
        "PROJECT_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"],
        "REALTIME_DRAIN_SECONDS": "0.1",
    }
    with ServerProcess(env=environment) as process:
        yield process


async def store(client: Any, content: str, ref: str) -> dict[str, Any]:
    """Send a message until it is stored, as a client does, and return the ``Ack``."""
    while True:
        await client.send("Chat", content=content, ref=ref)
        answer: dict[str, Any] = await client.receive()
        while answer.get("ref") != ref:
            answer = await client.receive()
        if answer["type"] == "Ack":
            return answer


@contextlib.contextmanager
def locked(site: Any) -> Iterator[None]:
    """Keep everybody else from storing messages."""
    url = site.environment["DATABASE_URL"]
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
    else:
        with psycopg.connect(url.replace("postgres:", "postgresql:")) as connection:
            connection.execute("LOCK TABLE rooms_roommessage IN ACCESS EXCLUSIVE MODE")
            yield


async def test_a_message_that_cannot_be_stored_in_time_gets_an_error_and_is_stored_once(
    site: Any, process: ServerProcess, room: str
) -> None:
    # Without Redis, bob is in the same process as alice.
    elsewhere = site.other if "REDIS_URL" in site.environment else process
    alice, bob = await site.client("alice", process=process), await site.client("bob", process=elsewhere)
    await alice.join(room)
    await bob.join(room)
    await alice.until("Presence", user=login_name("bob"))
    with locked(site):
        await alice.send("Chat", content="hi", ref="first")
        error = await alice.until("Error", ref="first")
        assert error["code"] == "internal"
        assert "same ref" in error["detail"]
        # Sent again while the first one still waits.
        await alice.send("Chat", content="hi", ref="first")
        assert (await alice.until("Error", ref="first"))["code"] == "internal"
    ack = await store(alice, "hi", ref="first")
    assert ack["seq"] == 1
    assert await alice.seen_so_far() == []
    assert (await bob.until("Chat"))["content"] == "hi"
    assert (await store(alice, "the next", ref="second"))["seq"] == 2
    assert (await bob.until("Chat"))["content"] == "the next"
    history = await alice.ask("History", room=room)
    assert [message["content"] for message in history["messages"]] == ["hi", "the next"]


@pytest.mark.soak
async def test_every_message_of_a_connection_that_cannot_be_stored_gets_an_error(
    site: Any, process: ServerProcess, room: str
) -> None:
    alice, bob = await site.client("alice", process=process), await site.client("bob", process=process)
    await alice.join(room)
    await bob.join(room)
    refs = [f"message {number}" for number in range(MESSAGES)]
    with locked(site):
        for ref in refs:
            await alice.send("Chat", content=ref, ref=ref)
        errors = [await alice.until("Error", code="internal") for _ in refs]
        assert sorted(error["ref"] for error in errors) == sorted(refs)
    for ref in refs[:PENDING]:  # these were on their way; the others were not taken
        assert (await bob.until("Chat"))["content"] == ref
    for ref in refs:
        await store(alice, ref, ref)
    history = await alice.ask("History", room=room, limit=200)
    assert sorted(message["content"] for message in history["messages"]) == sorted(refs)
