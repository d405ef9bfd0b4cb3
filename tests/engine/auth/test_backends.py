"""Guessing passwords at every door: the login page, the admin and the API."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections import Counter
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import aauthenticate, authenticate
from django.test import Client, RequestFactory

from realtime.engine.auth import throttling
from realtime.engine.testing import RedisProcess, ServerProcess, create_user, credentials, free_port, login_name

pytestmark = pytest.mark.django_db(transaction=True)

#: Wrong passwords for one account from one address, by default.
LIMIT = 10

PASSWORD = "correct horse"

DOORS = ["/login/", "/admin/login/", "/api/token/"]

ADDRESS = "192.0.2.7"


@pytest.fixture(autouse=True)
def _one_window(monkeypatch) -> None:
    monkeypatch.setattr(throttling, "_now", lambda: 1_000_000)


@pytest.fixture(autouse=True)
def _users() -> None:
    for name in ("ann", "bob"):
        create_user(name, PASSWORD, is_staff=True, is_superuser=True)


def log_in(door: str, name: str, password: str, address: str = ADDRESS, **headers: str) -> Any:
    if door.startswith("/api/"):
        body = credentials(name, password)
        return Client().post(door, body, "application/json", REMOTE_ADDR=address, **headers)
    # Django's form has this name for whatever the user model logs in by.
    return Client().post(door, {"username": login_name(name), "password": password}, REMOTE_ADDR=address, **headers)


def guess(door: str, count: int, name: str = "ann", **options: str) -> Counter[int]:
    return Counter(log_in(door, name, "wrong", **options).status_code for _ in range(count))


def is_let_in(door: str, name: str, address: str = ADDRESS, **headers: str) -> bool:
    return log_in(door, name, PASSWORD, address, **headers).status_code == (200 if door == "/api/token/" else 302)


@pytest.mark.parametrize("door", DOORS)
def test_guessing_is_stopped_and_says_for_how_long(door: str, settings) -> None:
    settings.REALTIME_AUTH_FAILURES_PER_MINUTE = 2 * LIMIT  # those that are refused do not count
    wrong = 401 if door == "/api/token/" else 200
    assert guess(door, 4 * LIMIT) == {wrong: LIMIT, 429: 3 * LIMIT}
    refusal = log_in(door, "ann", PASSWORD)
    assert refusal.status_code == 429
    assert 1 <= int(refusal["Retry-After"]) <= 15 * 60
    assert "Too many failed attempts" in refusal.content.decode() or "Too many attempts" in refusal.content.decode()


@pytest.mark.parametrize("door", DOORS)
def test_failures_at_one_door_count_at_the_others(door: str) -> None:
    guess(door, LIMIT)
    assert [log_in(other, "ann", PASSWORD).status_code for other in DOORS] == [429, 429, 429]


@pytest.mark.parametrize("door", DOORS)
def test_guessing_from_many_addresses_does_not_lock_the_owner_out(door: str) -> None:
    for number in range(4 * LIMIT):
        guess(door, 1, address=f"198.51.100.{number}")
    assert is_let_in(door, "ann")


def test_guessing_one_account_does_not_lock_out_others_behind_the_same_address(settings) -> None:
    settings.REALTIME_AUTH_FAILURES_PER_MINUTE = 2 * LIMIT
    guess("/login/", 4 * LIMIT)
    assert is_let_in("/login/", "bob")


def test_guessing_many_accounts_from_one_address_is_stopped(settings) -> None:
    settings.REALTIME_AUTH_FAILURES_PER_MINUTE = 20
    found = Counter(log_in("/login/", f"somebody-{number}", "wrong").status_code for number in range(30))
    assert found == {200: 20, 429: 10}
    assert not is_let_in("/login/", "ann")
    assert is_let_in("/login/", "ann", "192.0.2.8")


def test_a_right_password_makes_up_for_wrong_ones() -> None:
    for _ in range(3):
        guess("/login/", LIMIT - 1)
        assert is_let_in("/login/", "ann")


def test_logins_do_not_count_as_failures_of_their_address(settings) -> None:
    settings.REALTIME_AUTH_FAILURES_PER_MINUTE = 2
    assert all(is_let_in("/api/token/", "ann") for _ in range(5))


def test_another_spelling_of_a_name_is_no_way_round() -> None:
    guess("/login/", LIMIT, name="ann")
    assert guess("/login/", 1, name="ANN") == {429: 1}


def test_an_ipv6_network_counts_as_one_address() -> None:
    for number in range(LIMIT):
        guess("/login/", 1, address=f"2001:db8::{number:x}")
    assert not is_let_in("/login/", "ann", "2001:db8::ffff")
    assert is_let_in("/login/", "ann", "2001:db8:0:1::1")


def test_behind_a_trusted_proxy_clients_are_counted_by_their_own_addresses(settings) -> None:
    settings.REALTIME_TRUSTED_PROXIES = 1
    for forged in range(LIMIT):
        guess("/login/", 1, HTTP_X_FORWARDED_FOR=f"203.0.113.{forged}, 198.51.100.1")
    assert not is_let_in("/login/", "ann", HTTP_X_FORWARDED_FOR="198.51.100.1")
    assert is_let_in("/login/", "ann", HTTP_X_FORWARDED_FOR="198.51.100.2")


def test_a_forwarded_address_is_not_believed_without_a_trusted_proxy() -> None:
    for forged in range(LIMIT):
        guess("/login/", 1, HTTP_X_FORWARDED_FOR=f"203.0.113.{forged}")
    assert not is_let_in("/login/", "ann", HTTP_X_FORWARDED_FOR="203.0.113.200")


def test_the_limit_can_be_switched_off(settings) -> None:
    settings.REALTIME_LOGIN_FAILURES = settings.REALTIME_AUTH_FAILURES_PER_MINUTE = 0
    assert guess("/login/", 2 * LIMIT) == {200: 2 * LIMIT}


def test_users_may_be_named_by_the_field_of_their_model() -> None:
    request = RequestFactory().post("/", REMOTE_ADDR=ADDRESS)
    for _ in range(LIMIT):
        assert authenticate(request, **credentials("ann", "wrong")) is None
    with pytest.raises(Exception, match="Too many attempts"):
        async_to_sync(aauthenticate)(request, **credentials("ann", PASSWORD))


def test_neither_name_nor_password_reaches_the_log(caplog) -> None:
    guess("/login/", LIMIT + 1, name="hunter2")
    assert "request refused" in caplog.text
    assert ADDRESS in caplog.text
    assert "hunter2" not in caplog.text
    assert "wrong" not in caplog.text


def test_without_redis_the_process_counts_by_itself(settings) -> None:
    location = f"redis://127.0.0.1:{free_port()}/0"
    settings.CACHES = {
        name: {"BACKEND": "realtime.engine.services.cache.LimitCache", "LOCATION": location} for name in settings.CACHES
    }
    assert guess("/login/", LIMIT + 2, address="192.0.2.9") == {200: LIMIT, 429: 2}


async def test_parallel_guesses_in_two_processes_pass_the_limit_exactly(
    database_copy, redis_server: RedisProcess
) -> None:
    def guess_once(server: ServerProcess) -> int:
        body = json.dumps(credentials("ann", "wrong")).encode()
        request = urllib.request.Request(server.http("/api/token/"), body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code

    environment = {"REDIS_URL": redis_server.url, "WEB_CONCURRENCY": "2"}
    with (
        ServerProcess(env=environment, database=database_copy) as first,
        ServerProcess(env=environment, database=database_copy) as second,
    ):
        guesses = (asyncio.to_thread(guess_once, server) for server in [first, second] * 15)
        assert Counter(await asyncio.gather(*guesses)) == {401: LIMIT, 429: 30 - LIMIT}
