"""A connection that a login session opened ends with it, whatever keeps the session."""

from __future__ import annotations

import base64
import datetime
import time
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.test import Client

from realtime.engine.auth.revocation import user_group
from realtime.engine.auth.sessions import log_out_everywhere
from realtime.engine.connections import lease as lease_module
from realtime.engine.connections import reporter as reporter_module
from realtime.engine.connections.lease import current_lease
from realtime.engine.connections.reporter import reporter
from realtime.engine.consumers.consumer import PolicyConsumer
from realtime.engine.testing import create_user

User = get_user_model()

pytestmark = pytest.mark.django_db(transaction=True)

BACKENDS = ["db", "cached_db", "cache", "file", "signed_cookies"]

ENDED = {"type": "websocket.close", "code": 3000, "reason": "the session has ended"}

Connect = Callable[..., Any]


class Members(PolicyConsumer):
    authentication = "required"


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, settings: Any, tmp_path: Any) -> str:
    """Each way in which Django keeps sessions."""
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{request.param}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    return str(request.param)


@pytest.fixture
async def looks(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The periodic look of a process, in a hurry."""
    monkeypatch.setattr(reporter_module, "INTERVAL", 0)
    monkeypatch.setattr(lease_module, "RENEWAL", 0)
    reporter.start()
    yield
    await reporter.stop()
    await current_lease().close()


@pytest.fixture
def ann() -> User:
    return create_user("ann", "secret")


def sign_in(user: User) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


def cookie_of(browser: Client) -> str:
    return str(browser.cookies[django_settings.SESSION_COOKIE_NAME].value)


def page_with(cookie: str) -> dict[str, Any]:
    """What the handshake of a page of this site has."""
    headers = {"host": "testserver", "origin": "http://testserver", "cookie": f"sessionid={cookie}"}
    return {"headers": [(name.encode(), value.encode()) for name, value in headers.items()]}


def ticket_of(browser: Client) -> dict[str, Any]:
    ticket = browser.post("/api/ws-ticket/").json()["ticket"]
    return {"query_string": f"ticket={ticket}".encode()}


async def accepted(connect: Connect, handshake: dict[str, Any]) -> Any:
    connection = connect(Members.as_asgi(), **handshake)
    [event] = await connection.until(1)
    assert event["type"] == "websocket.accept", connection.sent
    return connection


async def status(connect: Connect, handshake: dict[str, Any]) -> int:
    connection = connect(Members.as_asgi(), **handshake)
    event = (await connection.until(1))[0]
    if event["type"] == "websocket.accept":
        await connection.end()
        return 101
    await connection.task
    return int(event["status"])


async def end_of(connection: Any) -> dict[str, Any]:
    event = (await connection.until(2))[1]
    await connection.end()
    return dict(event)


@pytest.mark.parametrize("way", ["cookie", "ticket"])
async def test_a_logout_closes_what_the_session_has_opened(connect: Connect, backend: str, ann: User, way: str) -> None:
    browser, elsewhere = await sync_to_async(sign_in)(ann), await sync_to_async(sign_in)(ann)
    handshake = page_with(cookie_of(browser)) if way == "cookie" else await sync_to_async(ticket_of)(browser)
    connection = await accepted(connect, handshake)
    bystander = await accepted(connect, page_with(cookie_of(elsewhere)))
    await sync_to_async(browser.post)("/logout/")
    assert await end_of(connection) == ENDED
    assert len(await bystander.end()) == 1


@pytest.mark.parametrize("way", ["cookie", "ticket"])
async def test_a_session_that_is_over_opens_nothing(connect: Connect, backend: str, ann: User, way: str) -> None:
    browser = await sync_to_async(sign_in)(ann)
    handshake = page_with(cookie_of(browser)) if way == "cookie" else await sync_to_async(ticket_of)(browser)
    await sync_to_async(browser.post)("/logout/")
    assert await status(connect, handshake) == 401


@pytest.mark.parametrize("way", ["cookie", "ticket"])
async def test_a_logout_whose_event_is_lost_is_found(
    connect: Connect, looks: None, backend: str, ann: User, way: str, channel_layer: Any
) -> None:
    browser = await sync_to_async(sign_in)(ann)
    handshake = page_with(cookie_of(browser)) if way == "cookie" else await sync_to_async(ticket_of)(browser)
    connection = await accepted(connect, handshake)
    [channel] = list(reporter.connections)
    await channel_layer.group_discard(user_group(ann.pk), channel)
    await sync_to_async(browser.post)("/logout/")
    assert await end_of(connection) == ENDED


@pytest.mark.parametrize("backend", ["db", "cached_db", "cache", "file"], indirect=True)
async def test_a_session_that_is_deleted_closes_what_it_has_opened(
    connect: Connect, looks: None, backend: str, ann: User
) -> None:
    cookie = cookie_of(await sync_to_async(sign_in)(ann))
    connection = await accepted(connect, page_with(cookie))
    store = import_module(django_settings.SESSION_ENGINE).SessionStore(cookie)
    await sync_to_async(store.flush)()
    assert await end_of(connection) == ENDED


def expire(cookie: str, seconds: float) -> None:
    store = import_module(django_settings.SESSION_ENGINE).SessionStore(cookie)
    store.set_expiry(datetime.timedelta(seconds=seconds))
    store.save()


@pytest.mark.parametrize("backend", ["db", "cached_db", "cache", "file"], indirect=True)
async def test_a_session_that_expires_closes_what_it_has_opened(
    connect: Connect, looks: None, backend: str, ann: User
) -> None:
    browsers = [await sync_to_async(sign_in)(ann) for _ in range(2)]
    short, prolonged = [await accepted(connect, page_with(cookie_of(browser))) for browser in browsers]
    await sync_to_async(expire)(cookie_of(browsers[1]), 3600)
    await sync_to_async(expire)(cookie_of(browsers[0]), 1)
    assert await end_of(short) == ENDED
    assert len(await prolonged.end()) == 1


@pytest.mark.parametrize("backend", ["signed_cookies"], indirect=True)
async def test_a_cookie_that_expires_closes_what_it_has_opened(
    connect: Connect, looks: None, backend: str, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await accepted(connect, page_with(cookie_of(await sync_to_async(sign_in)(ann))))
    later = time.time() + django_settings.SESSION_COOKIE_AGE + 1
    monkeypatch.setattr("time.time", lambda: later)
    assert await end_of(connection) == ENDED


async def test_a_new_password_without_a_signal_closes_what_the_sessions_have_opened(
    connect: Connect, looks: None, backend: str, ann: User
) -> None:
    connection = await accepted(connect, page_with(cookie_of(await sync_to_async(sign_in)(ann))))
    await User.objects.filter(pk=ann.pk).aupdate(password="!")
    assert await end_of(connection) in (ENDED, {**ENDED, "code": 3003, "reason": "the password was changed"})


async def test_a_session_whose_key_signs_no_more_and_still_verifies_opens_a_connection(
    connect: Connect, ann: User, settings: Any
) -> None:
    cookie = cookie_of(await sync_to_async(sign_in)(ann))
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = (
        [settings.SECRET_KEY],
        "a new key that is as long as it should be",
    )
    assert await status(connect, page_with(cookie)) == 101
    assert await status(connect, page_with(cookie)) == 101


async def test_no_session_key_stands_in_an_event_a_log_a_ticket_or_a_list(
    connect: Connect, ann: User, channel_layer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    browser = await sync_to_async(sign_in)(ann)
    cookie = cookie_of(browser)
    ticket = (await sync_to_async(ticket_of)(browser))["query_string"]
    connection = await accepted(connect, page_with(cookie))
    eavesdropper = await channel_layer.new_channel()
    await channel_layer.group_add(user_group(ann.pk), eavesdropper)
    await sync_to_async(browser.post)("/logout/")
    event = await channel_layer.receive(eavesdropper)
    await end_of(connection)
    assert cookie not in str(event)
    assert cookie not in caplog.text
    assert cookie not in repr(reporter.connections)
    assert cookie.encode() not in _decoded(ticket)


async def test_logging_a_user_out_everywhere_ends_the_sessions(connect: Connect, ann: User) -> None:
    browser = await sync_to_async(sign_in)(ann)
    other = await sync_to_async(sign_in)(await sync_to_async(create_user)("other"))
    connection = await accepted(connect, page_with(cookie_of(browser)))
    await sync_to_async(log_out_everywhere)(ann.pk)
    event = await end_of(connection)
    assert (event["code"], event["reason"]) == (3003, "logged out everywhere")
    assert await status(connect, page_with(cookie_of(browser))) == 401
    assert await status(connect, page_with(cookie_of(other))) == 101


async def test_logging_out_everywhere_ends_sessions_that_the_cache_knows_too(
    connect: Connect, ann: User, settings: Any
) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
    here, there = await sync_to_async(sign_in)(ann), await sync_to_async(sign_in)(ann)
    assert (await sync_to_async(here.post)("/api/logout-everywhere/")).status_code == 204
    assert (await sync_to_async(there.post)("/api/ws-ticket/")).status_code == 401
    assert await status(connect, page_with(cookie_of(there))) == 401


def _decoded(ticket: bytes) -> bytes:
    """Everything that can be read in a ticket without the key of the site."""
    return base64.urlsafe_b64decode(ticket.removeprefix(b"ticket="))
