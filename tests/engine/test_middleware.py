"""The content security policy of responses, by the middleware of the Django that is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path


@pytest.fixture
def get(client: Client, settings: Any) -> Callable[..., HttpResponse]:
    """Ask for a page that is not there, or whose view fails."""

    def fails(request: HttpRequest) -> HttpResponse:
        raise RuntimeError("on purpose")

    settings.ROOT_URLCONF = (path("fails", fails),)
    settings.SECURE_CSP = {"default-src": ["'none'"], "img-src": ["'self'", "data:"]}
    client.raise_request_exception = False

    def get(address: str, *, debug: bool) -> HttpResponse:
        settings.DEBUG = debug
        return client.get(address)

    return get


@pytest.mark.parametrize(("address", "status"), [("/nowhere", 404), ("/fails", 500)])
def test_a_page_that_django_shows_to_developers_has_no_policy(get, address: str, status: int) -> None:
    page = get(address, debug=True)
    assert (page.status_code, page.headers.get("Content-Security-Policy")) == (status, None)
    assert b"DEBUG = True" in page.content


def test_a_page_of_an_error_has_the_policy(get) -> None:
    page = get("/fails", debug=False)
    policy = "default-src 'none'; img-src 'self' data:"
    assert (page.status_code, page.headers.get("Content-Security-Policy")) == (500, policy)
