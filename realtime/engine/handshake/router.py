"""Routes handshakes to consumers, and answers HTTP requests that reach no view."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from channels.routing import URLRouter
from django.conf import settings
from django.core.exceptions import RequestAborted
from django.urls import URLPattern

from realtime.engine.handshake.denial import deny, send_problem, with_problem_responses
from realtime.engine.handshake.origin import check_host, check_same_origin
from realtime.engine.protocol.errors import HandshakeRejected
from realtime.engine.protocol.http import upgrade_problem

#: Where middleware keeps the application that it wraps: that of Channels, its origin validator, and most others.
_WRAPPED = ("inner", "application", "app")


def websocket_urlpatterns() -> Sequence[URLPattern]:
    """Return the project's WebSocket routes, from the module that ``settings.REALTIME_ROUTING`` names."""
    return import_module(settings.REALTIME_ROUTING).websocket_urlpatterns


class _Match(NamedTuple):
    application: Any
    innermost: Any
    """The application without its middleware; behind a nested router, what that leads to."""
    endpoint: str
    """The route as it is written."""
    remaining: str
    """What the route leaves of the path, for a router behind middleware."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class SocketRouter:
    """Routes handshakes by path, and puts the route into the scope as Channels' ``URLRouter`` does.

    Args:
        urlpatterns: ``path()`` or ``re_path()`` entries, also nested ``URLRouter`` applications. A path that matches
            none is tried once more without its trailing slash, or with one.
    """

    def __init__(self, urlpatterns: Sequence[URLPattern]) -> None:
        # URLRouter prepares the patterns of nested routers, and refuses include().
        self.urlpatterns: list[URLPattern] = URLRouter(list(urlpatterns)).routes

    def matches(self, scope: dict[str, Any]) -> bool:
        """Return whether the path of ``scope`` has an endpoint."""
        return self._find(scope) is not None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Run the endpoint of the path, or answer 400 for the host, 404 for the path or 403 for the origin.

        The origin is checked here where the consumer states no policy.
        """
        try:
            application = self._enter(scope)
        except HandshakeRejected as rejection:
            await receive()  # websocket.connect, which comes before every answer
            await deny(scope, send, rejection)
            return
        await application(scope, receive, with_problem_responses(scope, send))

    def _enter(self, scope: dict[str, Any]) -> Any:
        check_host(scope)
        found = self._find(scope)
        if found is None:
            raise HandshakeRejected(404, "There is no WebSocket endpoint at this path.")
        count_as = scope.get("extensions", {}).get("websocket.policy", {}).get("count_as")
        if count_as is not None:
            count_as(found.endpoint)
        # The scope is this connection's own: a copy would only cost memory for as long as it lives.
        scope["endpoint"] = found.endpoint
        scope["path_remaining"] = found.remaining
        scope["url_route"] = {"args": found.args, "kwargs": found.kwargs}
        if not _enforces_policy(found.innermost):
            check_same_origin(scope)
        return found.application

    def _find(self, scope: dict[str, Any]) -> _Match | None:
        found = (_first(self.urlpatterns, path) for path in _spellings(_route_path(scope)))
        return next((match for match in found if match is not None), None)


class UpgradeRequired:
    """Answers plain HTTP requests for the WebSocket paths of ``sockets`` with 400; ``application`` gets all others."""

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
        await send_problem(send, HandshakeRejected(400, detail, headers=problem.headers if problem else ()))


class BodyLimit:
    """Answers 413 to a request with too large a body, before more of it is read. The engine's Daphne does so itself.

    Args:
        application: an HTTP application that reads the whole body before it answers, as Django does.
        limit: bytes.
    """

    def __init__(self, application: Any, limit: int) -> None:
        self.application = application
        self.limit = limit

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve a request."""
        lengths = [int(value) for name, value in scope["headers"] if name == b"content-length" and value.isdigit()]
        size = max(lengths, default=0)
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
            detail = f"The body of a request has at most {self.limit} bytes."
            await send_problem(send, HandshakeRejected(413, detail))


def _route_path(scope: dict[str, Any]) -> str | None:
    """Return the path as routes see it: below ``root_path``, and without the leading slash."""
    root_path = scope.get("root_path", "").rstrip("/")
    path: str = scope["path"]
    if not path.startswith(root_path):
        return None
    below = path[len(root_path) :]
    return None if root_path and below and not below.startswith("/") else below.removeprefix("/")


def _spellings(path: str | None) -> Iterator[str]:
    """Yield the path as it is, and without its trailing slash or with one; none where a name is empty at either end."""
    if path is None or path.startswith("/") or path.endswith("//"):
        return
    yield path
    if path:
        yield path[:-1] if path.endswith("/") else f"{path}/"


def _first(routes: Iterable[URLPattern], path: str) -> _Match | None:
    return next((found for route in routes if (found := _match(route, path)) is not None), None)


def _match(route: URLPattern, path: str) -> _Match | None:
    match = route.pattern.match(path)
    if match is None:
        return None
    remaining, args, kwargs = match
    kwargs = {**kwargs, **route.default_args}
    application, innermost, endpoint = route.callback, _innermost(route.callback), str(route.pattern)
    if not isinstance(innermost, URLRouter):
        return _Match(application, innermost, endpoint, remaining, args, kwargs)
    # As in URLRouter, "ws" and "ws/" lead to the same nested routes.
    consumed = path[: len(path) - len(remaining)]
    inner = _first(innermost.routes, remaining if consumed.endswith("/") else remaining.removeprefix("/"))
    if inner is None:
        return None
    endpoint += inner.endpoint
    if application is innermost:
        return inner._replace(endpoint=endpoint, args=args + inner.args, kwargs={**kwargs, **inner.kwargs})
    # The nested router stands behind middleware, and routes once more by itself.
    return _Match(application, inner.innermost, endpoint, remaining, args, kwargs)


def _innermost(application: Any) -> Any:
    while True:
        wrapped = next((getattr(application, name) for name in _WRAPPED if hasattr(application, name)), None)
        if wrapped is None:
            return application
        application = wrapped


def _enforces_policy(application: Any) -> bool:
    return getattr(getattr(application, "consumer_class", None), "enforces_policy", False) is True
