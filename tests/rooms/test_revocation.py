"""What ends a user's connections, in every process."""

from __future__ import annotations

import asyncio
import datetime
import http.cookiejar
import time
import urllib.parse
import urllib.request
from typing import Any

import pytest
import websockets
from django.test import Client
from django.utils import timezone
from rest_framework_simplejwt.tokens import RefreshToken

from realtime.engine.auth.revocation import find_revocation, revoke_user, user_group
from realtime.engine.testing import create_user, credentials, login_name
from tests.rooms.conftest import USERS

USER = "user = User.objects.get(pk={pk})\n"

#: User, what happens to the account, the reason in the close frame. Each user is lost to the other tests.
CHANGES = [
    ("deactivated", "user.is_active = False\nuser.save()", "the account was deactivated"),
    ("renewed", "user.set_password('another')\nuser.save()", "the password was changed"),
    ("deleted", "user.delete()", "the account was deleted"),
    (
        "disconnected",
        "from realtime.engine.auth import revocation\nrevocation.disconnect_user(user.pk, 'disconnected by staff')",
        "disconnected by staff",
    ),
]


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("user", "change", "reason"), CHANGES)
async def test_a_change_of_the_account_closes_its_connections_in_every_process(
    site: Any, user: str, change: str, reason: str
) -> None:
    paths = ("/ws/auth", "/ws/rooms")
    clients = [await site.client(user, path=path, process=process) for path in paths for process in site.processes]
    bystander = await site.client("alice", path="/ws/auth")
    await site.manage(USER.replace("{pk}", str(USERS[user])) + change)
    for client in clients:
        await client.socket.wait_closed()
        assert (client.socket.close_code, client.socket.close_reason) == (3003, reason)
    await bystander.socket.send("still here")
    assert await bystander.socket.recv() == "still here"


async def test_a_change_without_an_event_is_found_by_the_next_look(site: Any) -> None:
    """``QuerySet.update()`` sends no signal; nor does an event arrive that Redis has lost."""
    client = await site.client("updated", path="/ws/auth", process=site.other)
    await site.manage(f"User.objects.filter(pk={USERS['updated']}).update(is_active=False)")
    await client.socket.wait_closed()
    assert (client.socket.close_code, client.socket.close_reason) == (3003, "the account is not active")


@pytest.mark.parametrize(
    ("user", "change"),
    [
        ("demoted", "user.is_staff = False\nuser.save()"),
        ("updated-staff", "User.objects.filter(pk=user.pk).update(is_staff=False)"),
    ],
)
async def test_demoted_staff_are_put_out_of_the_rooms_that_only_staff_may_see(
    site: Any, room: str, user: str, change: str
) -> None:
    for name, is_public in ((room, False), (f"{room}-public", True)):
        assert (await site.api("POST", "/api/rooms/", "alice", room=name, is_public=is_public))[0] == 201
    client = await site.client(user, process=site.other)
    await client.join(room)
    await client.join(f"{room}-public")
    await site.manage(USER.replace("{pk}", str(USERS[user])) + change)
    assert await client.until("Left") == {"type": "Left", "room": room}
    assert (await client.ask("Chat", content="x", room=room))["code"] == "not_joined"
    assert (await client.ask("History", room=room))["code"] == "not_joined"
    assert (await client.ask("Join", room=room))["code"] == "unknown_room"
    await client.say("as everybody may", room=f"{room}-public")


class Browser:
    """A browser that signs in with the form of the site."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self._cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies))

    def sign_in(self, name: str, password: str) -> None:
        self._opener.open(self._process.http("/login/"), timeout=30).read()
        self._post("/login/", username=login_name(name), password=password)

    def sign_out(self) -> None:
        self._post("/logout/")

    def open_socket(self, process: Any) -> Any:
        headers = {"Cookie": f"sessionid={self._cookie('sessionid')}"}
        origin = process.http("").rstrip("/")
        return websockets.connect(process.ws("/ws/auth"), origin=origin, additional_headers=headers)

    def _cookie(self, name: str) -> str:
        [value] = [cookie.value for cookie in self._cookies if cookie.name == name]
        return str(value)

    def _post(self, path: str, **fields: str) -> None:
        fields["csrfmiddlewaretoken"] = self._cookie("csrftoken")
        self._opener.open(self._process.http(path), urllib.parse.urlencode(fields).encode(), timeout=30).read()


async def test_a_logout_closes_the_connections_of_the_session_in_every_process(site: Any) -> None:
    browser, elsewhere = Browser(site.processes[0]), Browser(site.other)
    for one in (browser, elsewhere):
        await asyncio.to_thread(one.sign_in, "browsing", "secret")
    async with (
        browser.open_socket(site.processes[0]) as here,
        browser.open_socket(site.other) as there,
        elsewhere.open_socket(site.other) as bystander,
    ):
        await asyncio.to_thread(browser.sign_out)
        for socket in (here, there):
            await socket.wait_closed()
            assert (socket.close_code, socket.close_reason) == (3000, "the session has ended")
        await bystander.send("still here")
        assert await bystander.recv() == "still here"


async def test_a_token_from_before_a_change_of_password_is_refused(site: Any) -> None:
    issued = int(time.time()) - 2
    headers = {"Authorization": f"Bearer {site.token('hasty', iat=issued)}"}
    await site.manage(USER.replace("{pk}", str(USERS["hasty"])) + "user.set_password('another')\nuser.save()")
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(site.processes[0].ws("/ws/auth"), additional_headers=headers)
    assert refused.value.response.status_code == 401
    await site.client("hasty", path="/ws/auth", generation=1)


def test_the_group_of_a_user_is_named_by_the_primary_key() -> None:
    assert user_group(7) == "user.7"


@pytest.mark.django_db
@pytest.mark.parametrize(("age", "is_void"), [(-60, True), (-2, True), (0, True), (60, False)])
def test_what_was_issued_before_or_in_the_same_second_is_void(age: int, is_void: bool) -> None:
    user = create_user("bob")
    assert find_revocation(user.pk) is None
    now = timezone.now()
    revoke_user(user.pk, "x")
    assert find_revocation(user.pk).voids(None, int(now.timestamp()) + age) is is_void


@pytest.mark.django_db
def test_saving_a_user_without_such_a_change_ends_nothing() -> None:
    user = create_user("bob", "x")
    user.save()
    user.last_login = timezone.now() - datetime.timedelta(days=1)
    user.save(update_fields=["last_login"])
    assert user.check_password("x")
    assert find_revocation(user.pk) is None


@pytest.mark.django_db(transaction=True)
def test_logging_out_everywhere_ends_tokens_sessions_and_renewal(client: Client) -> None:
    user = create_user("bob", "x")
    other = Client()
    other.force_login(user)
    client.force_login(user)
    refresh = RefreshToken.for_user(user)
    refresh["iat"] = int(time.time()) - 2
    access = refresh.access_token
    access["iat"] = refresh["iat"]
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {access}"}
    assert other.post("/api/ws-ticket/", **bearer).status_code == 200
    assert client.post("/api/logout-everywhere/", **bearer).status_code == 204
    assert other.post("/api/ws-ticket/", **bearer).status_code == 401
    assert other.post("/api/ws-ticket/").status_code == 401
    renewed = other.post("/api/token/refresh/", {"refresh": str(refresh)}, content_type="application/json")
    assert renewed.status_code == 401
    pair = other.post("/api/token/", credentials("bob", "x"), content_type="application/json").json()
    fresh = {"HTTP_AUTHORIZATION": f"Bearer {pair['access']}"}
    assert other.post("/api/ws-ticket/", **fresh).status_code == 200
