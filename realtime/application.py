"""The two ASGI applications of a site with WebSockets: what answers a handshake, and what answers HTTP.

``SocketRouter`` does what Channels' ``URLRouter`` does, with a 404 for unknown paths and without a difference between
``/ws`` and ``/ws/``. ``UpgradeRequired`` stands before Django and tells a request that asks for a WebSocket path over
HTTP what it lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from channels.routing import URLRouter
from django.core.exceptions import RequestAborted
from django.urls import URLPattern

from realtime.errors import HandshakeRejected
from realtime.handshake import check_host, deny, refusing
from realtime.problems import problem_response
from realtime.upgrade import upgrade_problem

__all__ = ["BodyLimit", "SocketRouter", "UpgradeRequired"]

#: A route that matches: its pattern, what of the path it leaves, and its arguments.
_Route = tuple[URLPattern, str, tuple[Any, ...], dict[str, Any]]


class SocketRouter:
    """Routes handshakes by path, and puts the route into the scope as Channels' ``URLRouter`` does.

    Args:
        urlpatterns: ``path()`` or ``re_path()`` entries without a trailing slash, as in ``routing.py``. A nested
            ``URLRouter`` may be one of them.
    """

    def __init__(self, urlpatterns: Sequence[URLPattern]) -> None:
        # URLRouter prepares the patterns of nested routers, and refuses include().
        self.urlpatterns: list[URLPattern] = URLRouter(list(urlpatterns)).routes

    def matches(self, scope: dict[str, Any]) -> bool:
        """Tell whether there is an endpoint at the path of ``scope``."""
        return self._route(scope) is not None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Run the endpoint of the path, or answer 400 for a host that is not allowed and 404 for an unknown path."""
        try:
            pattern, remaining, args, kwargs = self._find(scope)
        except HandshakeRejected as rejection:
            await receive()  # websocket.connect, which comes before every answer
            await deny(scope, send, rejection)
            return
        endpoint = str(pattern.pattern)
        count_as = scope.get("extensions", {}).get("websocket.policy", {}).get("count_as")
        if count_as is not None:
            count_as(endpoint)
        # The scope is this connection's own: a copy would only cost memory for as long as it lives.
        scope["endpoint"] = endpoint
        scope["path_remaining"] = remaining
        scope["url_route"] = {"args": args, "kwargs": kwargs}
        await pattern.callback(scope, receive, refusing(scope, send))

    def _find(self, scope: dict[str, Any]) -> _Route:
        check_host(scope)
        route = self._route(scope)
        if route is None:
            raise HandshakeRejected(404, "There is no WebSocket endpoint at this path.")
        return route

    def _route(self, scope: dict[str, Any]) -> _Route | None:
        path = _route_path(scope)
        if path is None:
            return None
        for pattern in self.urlpatterns:
            match = pattern.pattern.match(path)
            if match is not None:
                remaining, args, kwargs = match
                return pattern, remaining, args, {**kwargs, **pattern.default_args}
        return None


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


class BodyLimit:
    """Answers requests with a body that is too large with 413, before more of it is read; Daphne's wire does by itself.

    Args:
        application: an HTTP application that reads the whole body before it answers, as Django does.
        limit: bytes.
    """

    def __init__(self, application: Any, limit: int) -> None:
        self.application = application
        self.limit = limit

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve a request."""
        size = _announced_size(scope["headers"])
        received = 0

        async def receive_within_limit() -> Any:
            nonlocal received
            event = await receive()
            received += len(event.get("body", b""))
            if received > self.limit:
                raise RequestAborted  # on which Django answers nothing
            return event

        if size <= self.limit:
            await self.application(scope, receive_within_limit, send)
        if max(size, received) > self.limit:
            await self._refuse(send)

    async def _refuse(self, send: Any) -> None:
        headers, body = problem_response(413, f"The body of a request has at most {self.limit} bytes.")
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _announced_size(headers: Sequence[tuple[bytes, bytes]]) -> int:
    sizes = [int(value) for name, value in headers if name == b"content-length" and value.isdigit()]
    return max(sizes, default=0)


def _route_path(scope: dict[str, Any]) -> str | None:
    """Return the path as routes see it: below ``root_path``, without the leading and one trailing slash."""
    root_path = scope.get("root_path", "")
    path: str = scope["path"]
    if not path.startswith(root_path):
        return None
    return path[len(root_path) :].removeprefix("/").removesuffix("/")
