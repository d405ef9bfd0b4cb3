"""The content security policy of responses, by the middleware of the Django that is installed."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from django.http import HttpRequest, HttpResponse

from realtime.engine.middleware import ContentSecurityPolicyMiddleware


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("status", [HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR])
def test_only_a_page_that_django_shows_to_developers_has_no_policy(settings, debug: bool, status: HTTPStatus) -> None:
    settings.DEBUG = debug
    settings.SECURE_CSP = {"default-src": ["'none'"], "img-src": ["'self'", "data:"]}
    middleware = ContentSecurityPolicyMiddleware(lambda request: HttpResponse(status=status))
    policy = middleware(HttpRequest()).headers.get("Content-Security-Policy")
    is_for_developers = debug and status != HTTPStatus.OK
    assert policy == (None if is_for_developers else "default-src 'none'; img-src 'self' data:")
