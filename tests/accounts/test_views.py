"""The account pages, as a browser without JavaScript uses them."""

from __future__ import annotations

import contextlib
import datetime
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import caches
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.urls import resolve, reverse
from django.utils import timezone
from rest_framework_simplejwt.tokens import RefreshToken

from realtime.accounts.forms import RegistrationForm
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
    # An email address is a login name in either model.
    return User.objects.create_user(
        **{"email": "ann@example.org", User.USERNAME_FIELD: "ann@example.org"}, password=PASSWORD
    )


@pytest.fixture
def page(ann: Any) -> Client:
    """A browser in which ann is logged in."""
    client = Client()
    client.force_login(ann)
    return client


def registration(**changes: str) -> dict[str, str]:
    return {
        "email": "bob@example.org",
        User.USERNAME_FIELD: "bob@example.org",
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
        ({"email": "ann@example.org", User.USERNAME_FIELD: "ann@example.org"}, "already exists"),
        ({"email": "Ann@example.org", User.USERNAME_FIELD: "Ann@example.org"}, "already exists"),
    ],
)
def test_registration_says_what_is_wrong(client: Client, ann: Any, wrong: dict[str, str], reason: str) -> None:
    response = client.post("/register/", registration(**wrong))
    assert response.status_code == 200
    assert reason in response.text
    assert User.objects.count() == 1


def test_registration_leads_to_where_the_login_was_asked_for_and_to_no_other_site(client: Client) -> None:
    login = client.get("/login/?next=/rooms/lobby/").text
    assert 'href="/register/?next=/rooms/lobby/"' in login
    form = client.get("/register/?next=/rooms/lobby/").text
    assert 'name="next" value="/rooms/lobby/"' in form
    assert client.post("/register/", registration(next="/rooms/lobby/")).url == "/rooms/lobby/"
    for number, elsewhere in enumerate(["https://elsewhere.example/", "//elsewhere.example", "javascript:alert(1)"]):
        assert "elsewhere" not in Client().get("/register/", {"next": elsewhere}).text
        other = {"email": f"{number}@example.org", User.USERNAME_FIELD: f"{number}@example.org", "next": elsewhere}
        assert Client().post("/register/", registration(**other)).url == "/account/"


def test_registration_gives_the_session_a_new_key(client: Client) -> None:
    client.session.save()  # such as one that somebody else has planted
    planted = client.session.session_key
    client.cookies[settings.SESSION_COOKIE_NAME] = planted
    client.post("/register/", registration())
    assert client.session.session_key != planted
    assert not Session.objects.filter(pk=planted).exists()


def test_a_name_that_is_taken_while_it_is_registered_is_an_error_of_the_form(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = RegistrationForm.save_or_refuse

    def save_after_another(form: RegistrationForm) -> Any:
        User.objects.create_user(**{User.USERNAME_FIELD: form.instance.get_username()})
        return save(form)

    monkeypatch.setattr(RegistrationForm, "save_or_refuse", save_after_another)
    response = client.post("/register/", registration())
    assert response.status_code == 200
    assert "already exists" in response.text
    assert User.objects.count() == 1
    assert client.get("/account/").status_code == 302


@pytest.mark.parametrize("path", ["/account/", "/account/password/", "/login/", "/register/", "/password/reset/"])
def test_no_cache_keeps_a_page_with_a_form_or_an_account(page: Client, client: Client, path: str) -> None:
    browser = page if path.startswith("/account/") else client
    assert "no-store" in browser.get(path).headers["Cache-Control"]


@pytest.mark.parametrize("path", ["/register/", "/login/", "/account/password/"])
def test_a_report_of_an_error_has_no_password(path: str) -> None:
    request = RequestFactory().post(path, {"password1": PASSWORD})
    request.user = request.session = None  # whatever comes of it: the mark is set before anything is done
    with contextlib.suppress(AttributeError, TypeError):
        resolve(path).func(request)
    assert request.sensitive_post_parameters


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
    assert client.post("/account/log-out-everywhere/").url == "/login/?next=/account/"


def test_a_new_password_ends_other_sessions_and_keeps_this_one(page: Client, ann: Any) -> None:
    elsewhere = Client()
    elsewhere.force_login(ann)
    form = {"old_password": PASSWORD, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    response = page.post("/account/password/", form, follow=True)
    assert response.redirect_chain == [("/account/", 302)]
    assert "Your password is changed" in response.text
    assert elsewhere.get("/account/").status_code == 302


def test_guesses_at_the_old_password_are_limited(page: Client, ann: Any) -> None:
    form = {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    statuses = [page.post("/account/password/", {**form, "old_password": "wrong"}).status_code for _ in range(20)]
    assert statuses == [200] * 20
    assert page.post("/account/password/", {**form, "old_password": PASSWORD}).status_code == 429
    ann.refresh_from_db()
    assert ann.check_password(PASSWORD)


def test_the_admin_changes_ones_own_password_on_the_limited_page(page: Client, ann: Any) -> None:
    ann.is_staff = True
    ann.save()
    form = {"old_password": PASSWORD, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    assert page.post(reverse("admin:password_change"), form).url == "/account/password/"
    ann.refresh_from_db()
    assert ann.check_password(PASSWORD)


def test_a_forgotten_password_is_replaced_by_a_link_that_works_once(client: Client, page: Client, ann: Any) -> None:
    assert client.post("/password/reset/", {"email": "ann@example.org"}).url == "/password/reset/sent/"
    [message] = mail.outbox
    link = re.search(r"http://testserver(/password/reset/\S+)", message.body)[1]
    form = client.get(link, follow=True)
    url = form.redirect_chain[-1][0]
    response = client.post(url, {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}, follow=True)
    assert response.redirect_chain == [("/login/", 302)]
    ann.refresh_from_db()
    assert ann.check_password(NEW_PASSWORD)
    assert page.get("/account/").status_code == 302
    assert "does not work any more" in client.get(link, follow=True).text


def test_a_link_to_a_new_password_works_for_an_hour(client: Client, ann: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for minutes, works in ((59, True), (61, False)):
        with monkeypatch.context() as then:
            sent = datetime.datetime.now() - datetime.timedelta(minutes=minutes)
            then.setattr(PasswordResetTokenGenerator, "_now", lambda self, sent=sent: sent)
            client.post("/password/reset/", {"email": "ann@example.org"})
        link = re.search(r"http://testserver(/password/reset/\S+)", mail.outbox[-1].body)[1]
        assert ("does not work any more" not in client.get(link, follow=True).text) is works


def test_the_email_names_the_site_and_the_user(client: Client, ann: Any, settings: Any) -> None:
    settings.SITE_NAME = "Fish & Chips\r\nBcc: all@example.org"
    client.post("/password/reset/", {"email": "ann@example.org"})
    [message] = mail.outbox
    assert message.subject == "A new password for Fish & ChipsBcc: all@example.org"
    assert (message.from_email, message.recipients()) == (settings.DEFAULT_FROM_EMAIL, ["ann@example.org"])
    assert "for ann@example.org on Fish & Chips" in message.body


def test_a_link_is_sent_to_the_address_that_is_stored(client: Client, ann: Any) -> None:
    client.post("/password/reset/", {"email": "ANN@example.org"})
    assert mail.outbox[0].recipients() == ["ann@example.org"]


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


@pytest.mark.parametrize(
    ("path", "login"),
    [
        ("/", "/login/"),
        ("/rooms/", "/login/?next=/rooms/"),
        ("/rooms/?name=a+b", "/login/?next=/rooms/%3Fname%3Da%2Bb"),
        ("/nowhere/", "/login/?next=/nowhere/"),
        ("/login/", "/login/"),
        ("/login/?next=/rooms/lobby/", "/login/?next=/rooms/lobby/"),
        ("/register/?next=/rooms/lobby/", "/login/?next=/rooms/lobby/"),
        ("/password/reset/", "/login/"),
        ("/password/reset/sent/", "/login/"),
        ("/password/reset/MQ/used-up/", "/login/"),
    ],
)
def test_the_login_in_the_navigation_leads_back_but_not_to_a_page_for_logging_in(
    client: Client, path: str, login: str
) -> None:
    [navigation] = re.findall(r"<nav .*?</nav>", client.get(path).text, re.DOTALL)
    assert re.findall(r'href="(/login/[^"]*)"', navigation) == [login]


def test_a_page_that_knows_no_request_offers_no_login() -> None:
    for name in ("500.html", "realtime/unavailable.html"):
        assert "/login/" not in render_to_string(name)


def test_the_navigation_says_who_is_logged_in(page: Client, client: Client, ann: Any) -> None:
    assert "/login/" in client.get("/rooms/").text
    text = page.get("/rooms/").text
    assert 'href="/account/"' in text
    assert 'action="/logout/"' in text
    assert "/admin/" not in text
    ann.is_staff = True
    ann.save()
    assert 'href="/admin/"' in page.get("/rooms/").text
