"""Subscriptions of consumers in this process, where a test can hold up and break what is around them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractBaseUser
from django.db import connections
from django.test import override_settings
from django.urls import path

from realtime.engine import (
    DeclarationError,
    MemoryStore,
    MessageRefused,
    SharedMessage,
    SocketPolicy,
    TopicConsumer,
    recheck_topic,
)
from realtime.engine.connections.lease import current_lease
from realtime.engine.describe.asyncapi import asyncapi_document
from realtime.engine.describe.endpoints import describe_endpoints
from realtime.engine.testing import create_user
from realtime.engine.topics import hub as hub_module
from realtime.engine.topics.hub import active_fanouts, current_hub
from realtime.engine.topics.messages import Publication, TopicMessage
from realtime.engine.topics.store import Stored
from tests.engine.topics.board import BoardConsumer

pytestmark = pytest.mark.django_db(transaction=True)

TOPIC = "topic"


class SlowStore(MemoryStore):
    """Stores when the test lets it, in a thread; fails when the test says so."""

    blocks = True

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.fails = False

    def append(self, writes: Sequence[Publication]) -> Sequence[Stored]:
        self.gate.wait()
        if self.fails:
            raise ValueError("no space left on device")
        return super().append(writes)


class Member(TopicConsumer):
    """Is in topics as the user of ``become()``, unless it is refused."""

    topic_store = SlowStore()
    refused: str | None = None
    fails = False

    def __init__(self, members: list[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        members.append(self)
        self.got: list[dict[str, Any]] = []
        self._news = asyncio.Event()

    def send_nowait(self, message: SharedMessage) -> None:
        self.got.append(json.loads(message.text or ""))
        self._news.set()

    async def until(self, count: int) -> list[dict[str, Any]]:
        """Wait until its topics have sent it so many messages, and return them."""
        async with asyncio.timeout(30):
            while len(self.got) < count:
                self._news.clear()
                await self._news.wait()
        return self.got

    async def authorize_topic(self, topic: str) -> None:
        if self.fails:
            raise ZeroDivisionError
        if self.refused is not None:
            raise MessageRefused("forbidden", self.refused)

    async def become(self, user: AbstractBaseUser) -> None:
        self.user = self.scope["user"] = user


@pytest.fixture(autouse=True)
async def _closed(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A store of this test's own; no thread keeps a database connection, and no lease is renewed, after it."""
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)
    monkeypatch.setattr(Member, "topic_store", SlowStore())
    yield
    hub = hub_module._hubs.pop(asyncio.get_running_loop(), None)
    if hub is not None:
        await asyncio.to_thread(hub._reading.close)
        await asyncio.to_thread(hub._storing.close)
    await current_lease().close()
    await sync_to_async(connections.close_all)()


@pytest.fixture
async def join(connect: Any) -> AsyncIterator[Callable[..., Any]]:
    """Opens a connection and returns its consumer."""
    opened = []

    async def open_connection() -> Member:
        members: list[Member] = []
        connection = connect(Member.as_asgi(members=members))
        await connection.until(1)
        opened.append(connection)
        return members[0]

    yield open_connection
    for connection in opened:
        await connection.end()


async def test_a_message_that_is_late_is_an_error_and_may_be_stored_all_the_same(join: Any) -> None:
    store = Member.topic_store
    author, reader = await join(), await join()
    await reader.topics.subscribe(TOPIC)
    store.gate.clear()
    with override_settings(REALTIME_TOPICS={"write_timeout": 0.05}):
        with pytest.raises(MessageRefused, match="not stored yet"):
            await author.topics.publish(TOPIC, 1, key="k")
        # While one is late, another one does not wait.
        with pytest.raises(MessageRefused, match="not stored yet"):
            await author.topics.publish(TOPIC, 2)
    store.gate.set()
    assert (await reader.until(1))[0]["data"] == 1
    assert (await author.topics.publish(TOPIC, 1, key="k")).is_repeat


async def test_a_message_that_cannot_be_stored_is_an_error(join: Any, caplog: pytest.LogCaptureFixture) -> None:
    author = await join()
    Member.topic_store.fails = True
    with pytest.raises(MessageRefused, match="could not be stored") as caught:
        await author.topics.publish(TOPIC, 1)
    assert caught.value.code == "internal"
    assert "no space left" in caplog.text


async def test_more_than_may_be_on_their_way_wait(join: Any) -> None:
    with override_settings(REALTIME_TOPICS={"pending_writes": 1}):
        author = await join()
    Member.topic_store.gate.clear()
    answers: asyncio.Queue[Any] = asyncio.Queue()
    await author.topics.submit(Publication(TOPIC, "1"), answers.put_nowait)
    second = asyncio.create_task(author.topics.submit(Publication(TOPIC, "2"), answers.put_nowait))
    await asyncio.sleep(0)
    assert not second.done()
    Member.topic_store.gate.set()
    await second
    assert [(await answers.get()).seq for _ in range(2)] == [1, 2]


async def test_tabs_of_one_user_are_one_and_a_sign_in_is_another(join: Any) -> None:
    user = await sync_to_async(create_user)("ann")
    first, second, viewer = await join(), await join(), await join()
    for member in (first, second):
        await member.become(user)
        await member.topics.subscribe(TOPIC, presence={"name": "Ann"})
    await viewer.topics.subscribe(TOPIC, presence={"name": "?"})
    anonymous = viewer.topic_key
    await first.topics.unsubscribe(TOPIC)
    await viewer.become(user)
    await viewer.topics.update_presence(TOPIC, {"name": "Ann"})
    await second.topics.unsubscribe(TOPIC)
    await viewer.topics.update_presence(TOPIC, {"name": "Ann!"})
    bystander = await join()
    await bystander.topics.subscribe(TOPIC)
    await viewer.topics.update_presence(TOPIC, {"name": "Ann."})
    [update] = await bystander.until(1)
    assert (update["state"], update["who"], update["metadata"]) == ("updated", f"user:{user.pk}", {"name": "Ann."})
    assert anonymous.startswith("anonymous:")


async def test_a_changed_user_leaves_the_topics_that_refuse_it(join: Any) -> None:
    member = await join()
    await member.topics.subscribe(TOPIC)
    await member.topics.subscribe("other")
    await member.access_changed()
    assert sorted(member.topics) == ["other", TOPIC]
    member.refused = "Not any more."
    await member.access_changed()
    assert len(member.topics) == 0
    assert [message["type"] for message in member.got] == ["Unsubscribed"] * 2
    assert active_fanouts() == []


async def test_a_subscriber_that_was_not_listed_may_be_listed_later(join: Any) -> None:
    viewer, other = await join(), await join()
    for member in (viewer, other):
        await member.topics.subscribe(TOPIC)
    await viewer.topics.update_presence(TOPIC, {"name": "Vera"})
    [came] = await other.until(1)
    assert (came["state"], came["metadata"]) == ("joined", {"name": "Vera"})


async def test_a_subscriber_that_cannot_be_authorized_goes_and_the_others_stay(
    join: Any, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound, author = await join(), await join(), await join()
    for member in (broken, sound):
        await member.topics.subscribe(TOPIC)
    broken.fails = True
    await sync_to_async(recheck_topic)(TOPIC, store=Member.topic_store)
    await author.topics.publish(TOPIC, 1)
    assert [message["type"] for message in await broken.until(1)] == ["Unsubscribed"]
    assert [message["type"] for message in await sound.until(1)] == ["Published"]
    assert "could not be authorized" in caplog.text


async def test_what_a_topic_sends_can_be_described() -> None:
    names = {schema["title"] for schema in msgspec.json.schema(TopicMessage)["$defs"].values()}
    assert names == {"Subscribed", "Published", "PresenceChanged", "Present", "Unsubscribed"}


async def test_a_subscriber_that_is_refused_while_it_comes_is_in_no_list(join: Any) -> None:
    member = await join()

    async def refuse(subscription: Any) -> None:
        raise MessageRefused("forbidden", "Changed my mind.")

    member.on_subscribed = refuse
    with pytest.raises(MessageRefused):
        await member.topics.subscribe(TOPIC, presence={})
    assert len(member.topics) == 0
    assert active_fanouts() == []


async def test_a_subscription_that_is_cancelled_leaves_nothing_behind(join: Any) -> None:
    member = await join()
    await member.topics.subscribe(TOPIC, presence={})
    hub, reached = current_hub(), asyncio.Event()
    leave = hub.leave

    async def never(_: Any) -> None:
        hub.leave = leave
        reached.set()
        await asyncio.Event().wait()

    hub.leave = never
    again = asyncio.create_task(member.topics.subscribe(TOPIC))
    await reached.wait()
    again.cancel()
    with pytest.raises(asyncio.CancelledError):
        await again
    assert len(member.topics) == 0
    assert active_fanouts() == []


async def test_rights_that_change_while_a_client_comes_are_read_again(join: Any) -> None:
    member = await join()
    store = Member.topic_store
    recover = store.recover

    def late(topic: str, since: Any) -> Any:
        store.raise_access(topic)
        member.refused = "Too late."
        return recover(topic, since)

    store.recover = late
    with pytest.raises(MessageRefused, match="Too late"):
        await member.topics.subscribe(TOPIC)
    assert active_fanouts() == []


async def test_a_channel_that_has_stopped_is_opened_again(join: Any, caplog: pytest.LogCaptureFixture) -> None:
    author, reader = await join(), await join()
    await reader.topics.subscribe(TOPIC)
    hub = current_hub()
    hub._channel._handling_failed(OSError("gone"))
    await author.topics.publish(TOPIC, 1)
    assert [message["data"] for message in await reader.until(1)] == [1]
    assert "opened again" in caplog.text


async def test_an_endpoint_that_does_not_say_who_may_is_an_error() -> None:
    with pytest.raises(NotImplementedError, match="define 'async def authorize_topic"):
        await TopicConsumer().authorize_topic(TOPIC)


def test_an_endpoint_with_topics_cannot_speak_msgpack() -> None:
    with pytest.raises(DeclarationError, match="Packed: the messages of topics are JSON"):

        class Packed(TopicConsumer):
            policy = SocketPolicy(subprotocols=("json", "msgpack"))


def test_the_board_of_the_documents_is_described_with_its_topics() -> None:
    [endpoint] = describe_endpoints([path("ws/board", BoardConsumer.as_asgi())])
    document = json.dumps(asyncapi_document([endpoint], host="example.org", protocol="wss"))
    for name in ("Watch", "Note", "Subscribed", "Published", "Presence", "Unsubscribed"):
        assert f'"{name}"' in document
