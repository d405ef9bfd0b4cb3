from __future__ import annotations

import json
from typing import Any

import pytest
from channels.auth import AuthMiddlewareStack
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import URLRouter
from channels.sessions import SessionMiddlewareStack
from channels.testing import WebsocketCommunicator
from django.urls import path, re_path

from realtime.engine.consumers.consumer import PolicyConsumer
from realtime.engine.handshake.router import SocketRouter, UpgradeRequired
from realtime.engine.protocol.policy import SocketPolicy


class Named(PolicyConsumer):
    async def connect(self):
        await self.accept()
        await self.send(json.dumps(self.scope["url_route"]["kwargs"]))


ROUTER = SocketRouter([path("ws", Named.as_asgi()), path("ws/rooms/<str:room>", Named.as_asgi())])


@pytest.mark.parametrize(
    ("requested", "kwargs"),
    [
        ("/ws", {}),
        ("/ws/", {}),
        ("/ws/rooms/a b", {"room": "a b"}),
        ("/ws/rooms/a/", {"room": "a"}),
    ],
)
async def test_a_trailing_slash_makes_no_difference(connect, requested, kwargs) -> None:
    connection = connect(ROUTER, path=requested)
    assert json.loads((await connection.until(2))[1]["text"]) == kwargs
    await connection.end()


@pytest.mark.parametrize("requested", ["/", "/nope", "/ws//", "//ws", "/ws/rooms", "/ws/rooms/a/b", "/ws\n"])
async def test_an_unknown_path_is_404(connect, requested) -> None:
    connection = connect(ROUTER, path=requested)
    await connection.task
    assert connection.sent[0]["status"] == 404


#: How a Django user writes a route, the path that a client asks for, and the arguments of the route.
ROUTES = [
    (path("ws/x", Named.as_asgi()), "/ws/x", {}),
    (path("ws/x/", Named.as_asgi()), "/ws/x", {}),
    (path("ws/<str:room>/", Named.as_asgi(), {"kind": "open"}), "/ws/lobby", {"room": "lobby", "kind": "open"}),
    (re_path(r"ws/chat/(?P<room_name>\w+)/$", Named.as_asgi()), "/ws/chat/lobby", {"room_name": "lobby"}),
    (re_path(r"^ws/chat/(?P<room>\w+)$", Named.as_asgi()), "/ws/chat/lobby", {"room": "lobby"}),
    (re_path(r"^ws/chat/(?P<room>\w+)/?$", Named.as_asgi()), "/ws/chat/lobby", {"room": "lobby"}),
    (path("ws/", URLRouter([path("<str:room>/", Named.as_asgi())])), "/ws/lobby", {"room": "lobby"}),
    (path("ws", URLRouter([path("<str:room>", Named.as_asgi())])), "/ws/lobby", {"room": "lobby"}),
    (path("ws/", URLRouter([path("", Named.as_asgi())])), "/ws", {}),
    (
        path("<str:a>/", URLRouter([path("<str:b>/", URLRouter([path("<str:c>/", Named.as_asgi())]))])),
        "/one/two/three",
        {"a": "one", "b": "two", "c": "three"},
    ),
    (
        re_path(r"^ws/(?P<a>\w+)/", AuthMiddlewareStack(URLRouter([path("<str:b>/", Named.as_asgi())]))),
        "/ws/one/two",
        {"a": "one", "b": "two"},
    ),
]


@pytest.mark.django_db(transaction=True)  # Channels' middleware looks after the connections of its thread
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(("route", "requested", "kwargs"), ROUTES, ids=[f"{row[0].pattern}" for row in ROUTES])
async def test_routes_match_as_django_users_write_them_with_and_without_a_slash(
    connect, route, requested, kwargs, slash
) -> None:
    router = SocketRouter([route])
    connection = connect(router, path=requested + slash)
    assert json.loads((await connection.until(2))[1]["text"]) == kwargs
    await connection.end()
    communicator = WebsocketCommunicator(router, requested + slash)
    assert (await communicator.connect())[0]
    assert json.loads(await communicator.receive_from()) == kwargs
    await communicator.disconnect()


@pytest.mark.parametrize("change", ["{0}//", "/{0}", "/more{0}", "{0}/more/and/more"])
@pytest.mark.parametrize(("route", "requested", "_"), ROUTES, ids=[f"{row[0].pattern}" for row in ROUTES])
async def test_no_other_path_matches_by_accident(connect, route, requested, _, change) -> None:
    connection = connect(SocketRouter([route]), path=change.format(requested))
    assert (await connection.until(1))[0].get("status") == 404
    await connection.task


async def test_route_that_matches_as_it_is_written_goes_before_one_that_matches_but_for_the_slash(connect) -> None:
    router = SocketRouter([path("ws/<str:room>", Named.as_asgi()), path("ws/<str:with_slash>/", Named.as_asgi())])
    for requested, kwargs in (("/ws/a", {"room": "a"}), ("/ws/a/", {"with_slash": "a"})):
        connection = connect(router, path=requested)
        assert json.loads((await connection.until(2))[1]["text"]) == kwargs
        await connection.end()


async def test_a_nested_router_without_the_path_leaves_it_to_the_next_route(connect) -> None:
    router = SocketRouter([path("ws/", URLRouter([path("a", Named.as_asgi())])), path("ws/b", Named.as_asgi())])
    connection = connect(router, path="/ws/b")
    assert (await connection.until(1))[0]["type"] == "websocket.accept"
    assert connection.scope["endpoint"] == "ws/b"
    await connection.end()
    connection = connect(router, path="/ws/a")
    await connection.until(1)
    assert connection.scope["endpoint"] == "ws/a"
    await connection.end()


async def test_routes_lie_below_root_path(connect) -> None:
    connection = connect(ROUTER, path="/site/ws", root_path="/site")
    assert (await connection.until(1))[0]["type"] == "websocket.accept"
    await connection.end()
    connection = connect(ROUTER, path="/ws", root_path="/site")
    await connection.task
    assert connection.sent[0]["status"] == 404


async def test_the_root_path_ends_with_a_whole_name(connect) -> None:
    connection = connect(ROUTER, path="/sitews", root_path="/site")
    assert (await connection.until(1))[0].get("status") == 404
    await connection.task


class Stock(AsyncWebsocketConsumer):
    async def connect(self):
        self.scope["connected"].append("connect")
        await self.accept()


class Partner(PolicyConsumer):
    policy = SocketPolicy(allowed_origins=("https://partner.example",))


async def own_application(scope, receive, send):
    assert (await receive())["type"] == "websocket.connect"
    scope["connected"].append("connect")
    await send({"type": "websocket.accept"})
    await receive()


STOCK = {
    "bare": Stock.as_asgi(),
    "behind authentication": AuthMiddlewareStack(Stock.as_asgi()),
    "behind sessions": SessionMiddlewareStack(Stock.as_asgi()),
    "an application": own_application,
    "nested": URLRouter([path("", Stock.as_asgi())]),
    "nested behind authentication": AuthMiddlewareStack(URLRouter([path("", Stock.as_asgi())])),
}
HOST, COOKIE = (b"host", b"testserver"), (b"cookie", b"theme=dark; sessionid=abc")
#: Headers, and whether a consumer that states no policy is connected.
SAME_ORIGIN = {
    "the same origin": ([HOST, COOKIE, (b"origin", b"http://testserver")], True),
    "no browser": ([HOST], True),
    "a communicator": ([COOKIE], True),
    "another site": ([HOST, COOKIE, (b"origin", b"https://evil.example")], False),
    "another port": ([HOST, COOKIE, (b"origin", b"http://testserver:8000")], False),
    "another scheme": ([HOST, COOKIE, (b"origin", b"https://testserver")], False),
    "another site without a cookie": ([HOST, (b"origin", b"https://evil.example")], False),
    "null": ([HOST, COOKIE, (b"origin", b"null")], False),
    "a session without an origin": ([HOST, COOKIE], False),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("headers", "connects"), SAME_ORIGIN.values(), ids=SAME_ORIGIN)
@pytest.mark.parametrize("application", STOCK.values(), ids=STOCK)
async def test_consumer_without_a_policy_is_held_to_the_same_origin_before_it_connects(
    connect, application, headers, connects
) -> None:
    connected: list[str] = []
    router = SocketRouter([re_path(r"^ws", application)])
    connection = connect(router, headers=headers, connected=connected)
    [answer] = (await connection.until(1))[:1]
    if connects:
        assert answer["type"] == "websocket.accept"
        await connection.end()
    else:
        assert answer.get("status") == 403
        await connection.task
        assert (b"content-type", b"application/problem+json") in answer["headers"]
    assert connected == (["connect"] if connects else [])


@pytest.mark.django_db(transaction=True)  # Channels' middleware looks after the connections of its thread
@pytest.mark.parametrize("wrap", [lambda consumer: consumer, AuthMiddlewareStack], ids=["bare", "in middleware"])
@pytest.mark.parametrize(("origin", "connects"), [(b"https://partner.example", True), (b"http://testserver", False)])
async def test_policy_of_a_consumer_decides_in_middleware_too(connect, wrap, origin, connects) -> None:
    router = SocketRouter([path("ws", wrap(Partner.as_asgi()))])
    connection = connect(router, headers=[HOST, (b"origin", origin)])
    [answer] = (await connection.until(1))[:1]
    assert answer["type"] == ("websocket.accept" if connects else "websocket.http.response.start")
    if connects:
        await connection.end()


async def http(requested: str, *headers: tuple[bytes, bytes], method: str = "GET") -> list[dict[str, Any]]:
    async def site(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    sent: list[dict[str, Any]] = []

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    scope = {"type": "http", "method": method, "http_version": "1.1", "path": requested, "headers": list(headers)}
    await UpgradeRequired(site, ROUTER)(scope, None, send)
    return sent


async def test_other_paths_are_the_sites() -> None:
    assert (await http("/about"))[0]["status"] == 200


@pytest.mark.parametrize(
    ("headers", "method", "named"),
    [
        ([], "GET", "Connection: Upgrade"),
        ([], "POST", "GET request"),
        ([(b"connection", b"upgrade")], "GET", "Upgrade: websocket"),
        ([(b"connection", b"upgrade"), (b"upgrade", b"h2c")], "GET", "Upgrade: websocket"),
    ],
)
async def test_a_websocket_path_asked_for_over_http_is_400_and_says_what_is_missing(headers, method, named) -> None:
    start, body = await http("/ws/", *headers, method=method)
    assert start["status"] == 400
    assert (b"content-type", b"application/problem+json") in start["headers"]
    assert named in json.loads(body["body"])["detail"]
