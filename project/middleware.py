"""Security headers that Django 5.2 does not set by itself, and the way past all middleware for monitors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse

from realtime.health import healthz, readyz
from realtime.metrics import metrics

__all__ = ["CONTENT_SECURITY_POLICY", "ContentSecurityPolicyMiddleware", "MonitorMiddleware"]

#: Everything comes from this site, nothing is inline. 'self' in connect-src includes ws: and wss: of
#: the same host (CSP level 3). The admin needs data: for its icons.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)

GetResponse = Callable[[HttpRequest], HttpResponse] | Callable[[HttpRequest], Awaitable[HttpResponse]]


class ContentSecurityPolicyMiddleware:
    """Adds ``Content-Security-Policy`` to every response that has none."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        if self._is_async:
            return self._call_async(request)
        return self._protect(self.get_response(request))  # type: ignore[arg-type]

    async def _call_async(self, request: HttpRequest) -> HttpResponse:
        return self._protect(await self.get_response(request))  # type: ignore[misc]

    @staticmethod
    def _protect(response: HttpResponse) -> HttpResponse:
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        return response


class MonitorMiddleware:
    """Answers monitors before any other middleware.

    They ask each process by its address, which is in nobody's ``ALLOWED_HOSTS``, and without TLS. What they are told
    depends on no header. And they ask when the database hangs, which sessions and users would wait for.
    """

    sync_capable = False
    async_capable = True

    VIEWS: ClassVar[dict[str, Callable[[HttpRequest], Awaitable[HttpResponse]]]] = {
        "/healthz": healthz,
        "/readyz": readyz,
        "/metrics": metrics,
    }

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponse]]) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, or pass the request on."""
        return await self.VIEWS.get(request.path_info, self.get_response)(request)
