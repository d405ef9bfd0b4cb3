"""The account pages, as a browser without JavaScript uses them."""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.cache import caches
from django.test import Client
from django.utils import timezone
from rest_framework_simplejwt.tokens import RefreshToken

from realtime.engine.connections.models import LiveConnection, Process

pytestmark = pytest.mark.django_db

User = get_user_model()

PASSWORD = "correct horse battery staple"
NEW_PASSWORD = "staple battery horse correct"


@pytest.fixture(autouse=True)
def _no_counts() -> Iterator[None]:
    caches["limits"].clear()
    yield
    caches["limits"].clear()


@pytest.fixture
def ann() -> Any:
    user = User(**{User.USERNAME_FIELD: "ann@example.org"})
    user.email = "ann@example.org"
    user.set_password(PASSWORD)
    user.save()
    return user


@pytest.fixture
def page(ann: Any) -> Client:
    """A browser in which ann is logged in."""
    client = Client()
    client.force_login(ann)
    return client


def registration(**changes: str) -> dict[str, str]:
    return {
        User.USERNAME_FIELD: "bob@example.org",
        "email": "bob@example.org",
        "password1": PASSWORD,
        "password2": PASSWORD,
        **changes,
    }


def test_registration_makes_a_user_and_logs_in(client: Client) -> None:
    response = client.post("/register/", registration(), follow=True)
    assert response.redirect_chain == [("/account/", 302)]
    assert "bob@example.org" in response.text
    bob = User.objects.get(email="bob@example.org")
    assert (bob.is_active, bob.is_staff, bob.is_superuser) == (True, False, False)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"password2": "something else"}, "match."),
        ({"password1": "12345678", "password2": "12345678"}, "too common"),
        ({"email": "nobody"}, "valid email"),
        ({"email": ""}, "required"),
        ({User.USERNAME_FIELD: "ann@example.org"}, "already exists"),
    ],
)
def test_registration_says_what_is_wrong(client: Client, ann: Any, wrong: dict[str, str], reason: str) -> None:
    response = client.post("/register/", registration(**wrong))
    assert response.status_code == 200
    assert reason in response.text
    assert User.objects.count() == 1


def test_registration_that_is_off_is_not_found_and_not_offered(client: Client, settings: Any) -> None:
    assert "/register/" in client.get("/login/").text
    settings.ACCOUNTS_REGISTRATION = False
    assert client.get("/register/").status_code == 404
    assert client.post("/register/", registration()).status_code == 404
    assert "/register/" not in client.get("/login/").text
    assert not User.objects.exists()


def test_an_address_registers_twenty_accounts_an_hour(client: Client) -> None:
    for _ in range(20):
        client.post("/register/", registration(email="nobody"))
    response = client.post("/register/", registration())
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) > 0
    assert not User.objects.exists()


def test_the_account_page_is_for_users(client: Client) -> None:
    response = client.get("/account/")
    assert (response.status_code, response.url) == (302, "/login/?next=/account/")


def test_the_account_page_lists_ones_own_connections_of_living_processes(page: Client, ann: Any) -> None:
    now, hour = timezone.now(), datetime.timedelta(hours=1)
    alive = Process.objects.create(id=uuid.uuid4(), host="here", pid=1, expires_at=now + hour)
    dead = Process.objects.create(id=uuid.uuid4(), host="here", pid=2, expires_at=now - hour)
    for channel, process, user, endpoint in (
        ("a", alive, ann, "/ws/mine"),
        ("b", dead, ann, "/ws/of-the-dead"),
        ("c", alive, None, "/ws/of-another"),
    ):
        LiveConnection.objects.create(channel=channel, process=process.pk, user=user, endpoint=endpoint, since=now)
    text = page.get("/account/").text
    assert "/ws/mine" in text
    assert "/ws/of-the-dead" not in text
    assert "/ws/of-another" not in text


def test_log_out_everywhere_ends_sessions_and_tokens(page: Client, ann: Any) -> None:
    elsewhere = Client()
    elsewhere.force_login(ann)
    token = str(RefreshToken.for_user(ann))
    response = page.post("/account/log-out-everywhere/", follow=True)
    assert response.redirect_chain == [("/login/", 302)]
    assert "logged out everywhere" in response.text
    for browser in (page, elsewhere):
        assert browser.get("/account/").status_code == 302
    assert elsewhere.post("/api/token/refresh/", {"refresh": token}, "application/json").status_code == 401


def test_log_out_everywhere_takes_a_post_of_a_user(page: Client, client: Client) -> None:
    assert page.get("/account/log-out-everywhere/").status_code == 405
    assert client.post("/account/log-out-everywhere/").url.startswith("/login/")


def test_a_new_password_ends_other_sessions_and_keeps_this_one(page: Client, ann: Any) -> None:
    elsewhere = Client()
    elsewhere.force_login(ann)
    form = {"old_password": PASSWORD, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    response = page.post("/account/password/", form, follow=True)
    assert response.redirect_chain == [("/account/", 302)]
    assert "Your password is changed" in response.text
    assert elsewhere.get("/account/").status_code == 302


def test_a_forgotten_password_is_replaced_by_a_link_that_works_once(client: Client, ann: Any) -> None:
    assert client.post("/password/reset/", {"email": "ann@example.org"}).url == "/password/reset/sent/"
    [message] = mail.outbox
    link = re.search(r"http://testserver(/password/reset/\S+)", message.body)[1]
    form = client.get(link, follow=True)
    url = form.redirect_chain[-1][0]
    response = client.post(url, {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}, follow=True)
    assert response.redirect_chain == [("/login/", 302)]
    ann.refresh_from_db()
    assert ann.check_password(NEW_PASSWORD)
    assert "does not work any more" in client.get(link, follow=True).text


def test_a_link_to_a_new_password_does_not_reveal_which_addresses_have_an_account(client: Client, ann: Any) -> None:
    known = client.post("/password/reset/", {"email": "ann@example.org"}, follow=True)
    unknown = client.post("/password/reset/", {"email": "nobody@example.org"}, follow=True)
    assert known.text == unknown.text
    assert len(mail.outbox) == 1


def test_an_address_asks_for_twenty_links_an_hour(client: Client, ann: Any) -> None:
    for _ in range(20):
        client.post("/password/reset/", {"email": "ann@example.org"})
    assert client.post("/password/reset/", {"email": "ann@example.org"}).status_code == 429
    assert len(mail.outbox) == 20


@pytest.mark.parametrize("path", ["/login/", "/register/", "/password/reset/", "/password/reset/sent/"])
def test_each_page_of_an_anonymous_user_opens(client: Client, path: str) -> None:
    assert client.get(path).status_code == 200


def test_the_navigation_says_who_is_logged_in(page: Client, client: Client, ann: Any) -> None:
    assert "/login/" in client.get("/rooms/").text
    text = page.get("/rooms/").text
    assert 'href="/account/"' in text
    assert 'action="/logout/"' in text
    assert "/admin/" not in text
    ann.is_staff = True
    ann.save()
    assert 'href="/admin/"' in page.get("/rooms/").text
