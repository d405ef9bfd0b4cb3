"""What was issued before a revocation opens nothing after it, also within the same second."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from realtime.engine.auth.authentication import Authentication, identify
from realtime.engine.auth.models import Revocation
from realtime.engine.auth.revocation import revoke_user
from realtime.engine.auth.serializers import PairSerializer
from realtime.engine.protocol.errors import HandshakeRejected
from realtime.engine.testing import create_user, credentials

User = get_user_model()

pytestmark = pytest.mark.django_db(transaction=True)


def change_password(user: User) -> None:
    user.set_password("another")
    user.save()


def log_out_everywhere(user: User) -> None:
    browser = Client()
    browser.force_login(user)
    assert browser.post("/api/logout-everywhere/").status_code == 204


def deactivate_and_activate(user: User) -> None:
    for user.is_active in (False, True):
        user.save()


REVOCATIONS = [change_password, log_out_everywhere, deactivate_and_activate]

Revoke = Callable[[User], None]


@pytest.fixture
def ann() -> User:
    return create_user("ann", "secret")


def pair_of(password: str = "secret") -> dict[str, str]:
    answer = Client().post("/api/token/", credentials("ann", password), "application/json")
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


def status_of(path: str, bearer: str | None = None, **data: str) -> int:
    headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
    return int(Client().post(path, data, "application/json", headers=headers).status_code)


def statuses_of(pair: dict[str, str]) -> list[int]:
    """What the HTTP API answers to both tokens, in each place that takes one."""
    return [
        status_of("/api/ws-ticket/", pair["access"]),
        status_of("/api/token/refresh/", refresh=pair["refresh"]),
        status_of("/api/token/verify/", token=pair["access"]),
        status_of("/api/token/verify/", token=pair["refresh"]),
    ]


async def opens(token: str | None = None, ticket: str | None = None) -> bool:
    """Return whether a handshake with that credential is let in."""
    headers = [(b"host", b"testserver")]
    if token is not None:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    scope = {"query_string": f"ticket={ticket}".encode() if ticket else b"", "headers": headers}
    try:
        await identify(scope, Authentication.REQUIRED)
    except HandshakeRejected:
        return False
    return True


@pytest.mark.parametrize("revoke", REVOCATIONS)
async def test_tokens_from_before_a_revocation_are_void_and_those_from_after_it_are_not(
    ann: User, revoke: Revoke
) -> None:
    before = await sync_to_async(pair_of)()
    assert await sync_to_async(statuses_of)(before) == [200, 200, 200, 200]
    assert await opens(before["access"])
    await sync_to_async(revoke)(ann)
    after = await sync_to_async(pair_of)("another" if revoke is change_password else "secret")
    assert await sync_to_async(statuses_of)(before) == [401, 401, 401, 401]
    assert not await opens(before["access"])
    assert await sync_to_async(statuses_of)(after) == [200, 200, 200, 200]
    assert await opens(after["access"])


@pytest.mark.parametrize("revoke", REVOCATIONS)
@pytest.mark.parametrize("credential", ["token", "session"])
async def test_a_ticket_from_before_a_revocation_opens_nothing(ann: User, revoke: Revoke, credential: str) -> None:
    client = Client()
    if credential == "session":
        await sync_to_async(client.force_login)(ann)
    headers = {"Authorization": f"Bearer {(await sync_to_async(pair_of)())['access']}"} if credential == "token" else {}
    tickets = [
        (await sync_to_async(client.post)("/api/ws-ticket/", headers=headers)).json()["ticket"] for _ in range(2)
    ]
    assert await opens(ticket=tickets[0])
    await sync_to_async(revoke)(ann)
    assert not await opens(ticket=tickets[1])


async def test_a_token_that_was_renewed_before_a_revocation_is_void_after_it(ann: User) -> None:
    pair = await sync_to_async(pair_of)()
    renewed = await sync_to_async(Client().post)(
        "/api/token/refresh/", {"refresh": pair["refresh"]}, "application/json"
    )
    await sync_to_async(revoke_user)(ann.pk, "x")
    assert not await opens(renewed.json()["access"])


async def test_a_token_of_others_from_the_second_of_a_revocation_is_void_and_a_later_one_is_not(ann: User) -> None:
    await sync_to_async(revoke_user)(ann.pk, "x")
    moment = timezone.now() - datetime.timedelta(seconds=2)
    await Revocation.objects.filter(pk=ann.pk).aupdate(at=moment)
    second = int(moment.timestamp())
    for issued_at, is_valid in ((second, False), (second + 1, True)):
        token = AccessToken.for_user(ann)
        token["iat"] = issued_at
        refresh = RefreshToken.for_user(ann)
        refresh["iat"] = issued_at
        statuses = await sync_to_async(statuses_of)({"access": str(token), "refresh": str(refresh)})
        assert statuses == [200 if is_valid else 401] * 4


@pytest.mark.parametrize("generation", ["1", True, 1.5, [1]])
async def test_a_generation_that_is_no_number_is_refused(ann: User, generation: Any) -> None:
    token = AccessToken.for_user(ann)
    token["generation"] = generation
    assert not await opens(str(token))
    assert await sync_to_async(status_of)("/api/token/verify/", token=str(token)) == 401


async def test_verify_says_that_the_tokens_of_an_inactive_or_deleted_user_are_void(ann: User) -> None:
    pair = await sync_to_async(pair_of)()
    await User.objects.filter(pk=ann.pk).aupdate(is_active=False)
    assert await sync_to_async(statuses_of)(pair) == [401, 401, 401, 401]
    await sync_to_async(User.objects.filter(pk=ann.pk)._raw_delete)("default")
    assert await sync_to_async(statuses_of)(pair) == [401, 401, 401, 401]


async def test_a_password_that_changes_while_it_is_checked_gives_no_tokens(ann: User) -> None:
    checked = await User.objects.aget(pk=ann.pk)
    await sync_to_async(change_password)(ann)
    with pytest.raises(AuthenticationFailed):
        await sync_to_async(PairSerializer.get_token)(checked)


async def test_the_ticket_of_a_copied_cookie_whose_session_has_ended_is_refused(ann: User, settings: Any) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    browser, thief = Client(), Client()
    await sync_to_async(browser.force_login)(ann)
    name = django_settings.SESSION_COOKIE_NAME
    thief.cookies[name] = browser.cookies[name].value
    assert (await sync_to_async(thief.post)("/api/ws-ticket/")).status_code == 200
    await sync_to_async(browser.post)("/logout/")
    assert (await sync_to_async(thief.post)("/api/ws-ticket/")).status_code in (401, 403)
