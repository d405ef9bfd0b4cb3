"""Django middleware: answers to monitors, problems below ``/api/``, the content security policy, sessions."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import django
from asgiref.sync import markcoroutinefunction
from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.deprecation import MiddlewareMixin

from realtime.engine.handshake.denial import RETRY_AFTER, is_outage
from realtime.engine.monitoring.health import healthz, readyz
from realtime.engine.monitoring.metrics import metrics
from realtime.engine.protocol.http import CONTENT_TYPE, problem_body

logger = logging.getLogger("realtime.http")

API_PREFIX = "/api/"

#: The detail of a problem, by status.
PROBLEM_DETAILS = {
    400: "The request is not valid.",
    403: "The request is not allowed.",
    404: "There is nothing at this address.",
    405: "The address does not take this method.",
    413: "The request is too large.",
    500: "The server failed; its log says how.",
    503: "A service that this needs is not available at the moment; try again.",
}

MONITOR_VIEWS = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}

#: What shows the inside of a process. ``/healthz`` only says that it is there, which monitors on the internet ask for.
INTERNAL_PATHS = frozenset({"/readyz", "/metrics"})

#: Headers that a reverse proxy adds, and that a client cannot take away.
PROXY_HEADERS = ("X-Forwarded-For", "X-Forwarded-Proto")


class _ContentSecurityPolicyMiddleware(MiddlewareMixin):
    """Adds ``Content-Security-Policy`` by ``settings.SECURE_CSP``, as Django 6 does, to responses that have none."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Add the header, but not to Django's own pages for developers: their styles and scripts are inline."""
        if settings.DEBUG and response.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR):
            return response
        policy = "; ".join(f"{name} {' '.join(sources)}" for name, sources in settings.SECURE_CSP.items())
        response.headers.setdefault("Content-Security-Policy", policy)
        return response


#: Django's own from 6.0 on.
ContentSecurityPolicyMiddleware: type[MiddlewareMixin] = _ContentSecurityPolicyMiddleware
if django.VERSION >= (6,):
    from django.middleware.csp import ContentSecurityPolicyMiddleware as ContentSecurityPolicyMiddleware


class ProblemMiddleware(MiddlewareMixin):
    """Answers 503 while a service is away, and turns error pages below ``/api/`` into problems (RFC 9457)."""

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer for a view that needs a service that is away; its clients come back."""
        if not is_outage(error):
            return None
        logger.error("%s needs a service that is away: %s: %s", request.path, type(error).__name__, error)
        page = render_to_string("realtime/unavailable.html")
        return HttpResponse(page, status=503, headers={"Retry-After": str(RETRY_AFTER), "Cache-Control": "no-store"})

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Replace the page of an error."""
        status = response.status_code
        is_page = response.headers.get("Content-Type", "").startswith("text/html")
        if status < 400 or not is_page or not request.path_info.startswith(API_PREFIX):
            return response
        response.content = problem_body(status, PROBLEM_DETAILS.get(status, HTTPStatus(status).phrase))
        response.headers["Content-Type"] = CONTENT_TYPE
        response.headers["Content-Length"] = str(len(response.content))
        return response


class SessionMiddleware(DjangoSessionMiddleware):
    """Ignores a session cookie with U+0000, for which a query on PostgreSQL fails."""

    def process_request(self, request: HttpRequest) -> None:
        """Open the session that the cookie names."""
        if "\0" in request.COOKIES.get(settings.SESSION_COOKIE_NAME, ""):
            del request.COOKIES[settings.SESSION_COOKIE_NAME]
        super().process_request(request)


class MonitorMiddleware:
    """Answers monitors before any other middleware.

    Monitors address each process by its IP address, which is not in ``ALLOWED_HOSTS``, and without TLS. They need an
    answer while the database hangs, which sessions and users would wait for.

    With ``REALTIME_PUBLIC_MONITORS`` off, ``/readyz`` and ``/metrics`` are not there for a request that came through a
    proxy. The counters are those of one process, so that Prometheus has to ask each process directly anyway.
    """

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponse]]) -> None:
        self.get_response = get_response
        self.is_public = getattr(settings, "REALTIME_PUBLIC_MONITORS", True)
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, or pass the request on."""
        view = MONITOR_VIEWS.get(request.path_info, self.get_response)
        is_hidden = not self.is_public and request.path_info in INTERNAL_PATHS
        if is_hidden and any(header in request.headers for header in PROXY_HEADERS):
            view = self.get_response
        return await view(request)
