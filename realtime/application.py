"""The two ASGI applications of a site with WebSockets: what answers a handshake, and what answers HTTP.

``SocketRouter`` is Channels' ``URLRouter`` with a 404 for unknown paths and without a difference between ``/ws`` and
``/ws/``. ``UpgradeRequired`` stands before Django and tells a request that asks for a WebSocket path over HTTP what
it lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from channels.routing import URLRouter
from django.urls import URLPattern
from django.urls.exceptions import Resolver404

from realtime.errors import HandshakeRejected
from realtime.handshake import deny
from realtime.problems import problem_response
from realtime.upgrade import upgrade_problem

__all__ = ["SocketRouter", "UpgradeRequired"]


class SocketRouter:
    """Routes handshakes by path.

    Args:
        urlpatterns: ``path()`` or ``re_path()`` entries without a trailing slash, as in ``routing.py``.
    """

    def __init__(self, urlpatterns: Sequence[URLPattern]) -> None:
        self.urlpatterns = list(urlpatterns)
        self._router = URLRouter(self.urlpatterns)

    def matches(self, scope: dict[str, Any]) -> bool:
        """Tell whether there is an endpoint at the path of ``scope``."""
        return self._endpoint(scope) is not None

    def _endpoint(self, scope: dict[str, Any]) -> str | None:
        """Return the route of ``scope`` as it is written in ``routing.py``, None without one."""
        path = _route_path(scope)
        if path is None:
            return None
        return next((str(pattern.pattern) for pattern in self.urlpatterns if _matches(pattern, path)), None)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Run the endpoint of the path, or answer 404."""
        endpoint = self._endpoint(scope)
        if endpoint is not None:
            count_as = scope.get("extensions", {}).get("websocket.policy", {}).get("count_as")
            if count_as is not None:
                count_as(endpoint)
            routed = {**scope, "path_remaining": _route_path(scope), "endpoint": endpoint}
            await self._router(routed, receive, send)
            return
        await receive()  # websocket.connect, which comes before every answer
        await deny(scope, send, HandshakeRejected(404, "There is no WebSocket endpoint at this path."))


class UpgradeRequired:
    """Answers plain HTTP requests for WebSocket paths with 400, and hands all others on.

    Args:
        application: the site's HTTP application.
        sockets: knows the WebSocket paths.
    """

    def __init__(self, application: Any, sockets: SocketRouter) -> None:
        self.application = application
        self.sockets = sockets

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer with what the request lacks (RFC 6455, 4.2.1)."""
        if not self.sockets.matches(scope):
            await self.application(scope, receive, send)
            return
        problem = upgrade_problem(scope["method"], scope.get("http_version", "1.1"), scope["headers"])
        detail = problem.detail if problem else "This server takes no WebSocket upgrade on this connection."
        headers, body = problem_response(400, detail, problem.headers if problem else ())
        await send({"type": "http.response.start", "status": 400, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _route_path(scope: dict[str, Any]) -> str | None:
    """Return the path as routes see it: below ``root_path``, without the leading and one trailing slash."""
    root_path = scope.get("root_path", "")
    path: str = scope["path"]
    if not path.startswith(root_path):
        return None
    return path[len(root_path) :].removeprefix("/").removesuffix("/")


def _matches(pattern: URLPattern, path: str) -> bool:
    try:
        return pattern.pattern.match(path) is not None
    except Resolver404:
        return False
