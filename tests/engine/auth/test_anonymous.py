"""realtime/engine/auth/anonymous.py: a browser keeps its identity, and nobody can take another's."""

from __future__ import annotations

import re
import time

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from realtime.engine import AnonymousCookie, anonymous_identity
from realtime.engine.auth.anonymous import COOKIE_NAME, LIFETIME


def answer_to(cookie: str | None = None) -> tuple[str, str]:
    """Return the identity of a request, and the cookie of its answer."""
    request = RequestFactory().get("/")
    if cookie is not None:
        request.COOKIES[COOKIE_NAME] = cookie
    found, response = AnonymousCookie(request), HttpResponse()
    found.renew(response)
    return found.identity, response.cookies[COOKIE_NAME].value


def scope_with(*cookies: str) -> dict[str, object]:
    return {"headers": [(b"cookie", cookie.encode()) for cookie in cookies]}


def test_a_browser_keeps_its_identity_and_a_connection_has_the_same():
    identity, cookie = answer_to()
    assert re.fullmatch("[0-9a-f]{32}", identity)
    assert answer_to(cookie)[0] == identity
    assert anonymous_identity(scope_with(f"{COOKIE_NAME}={cookie}")) == identity
    assert anonymous_identity(scope_with("a=b", f"{COOKIE_NAME}={cookie}")) == identity


def test_two_browsers_have_two_identities():
    assert answer_to()[0] != answer_to()[0]


@pytest.mark.parametrize("change", [lambda cookie: "x" + cookie, lambda cookie: cookie[:-1], lambda cookie: ""])
def test_a_cookie_that_was_not_signed_here_is_nobody(change):
    identity, cookie = answer_to()
    assert anonymous_identity(scope_with(f"{COOKIE_NAME}={change(cookie)}")) is None
    assert answer_to(change(cookie))[0] != identity
    assert identity not in cookie


def test_a_cookie_ends(monkeypatch):
    _, cookie = answer_to()
    later = LIFETIME.total_seconds() + 60
    now = time.time()
    monkeypatch.setattr("django.core.signing.time.time", lambda: now + later)
    assert anonymous_identity(scope_with(f"{COOKIE_NAME}={cookie}")) is None


def test_the_cookie_is_for_this_site_alone_and_no_script_reads_it(settings):
    settings.SESSION_COOKIE_SECURE = True
    response = HttpResponse()
    AnonymousCookie(RequestFactory().get("/")).renew(response)
    morsel = response.cookies[COOKIE_NAME]
    assert (morsel["httponly"], morsel["secure"], morsel["samesite"]) == (True, True, "Lax")
