from __future__ import annotations

import json
from typing import Any

import pytest
from django.urls import path

from realtime.application import SocketRouter, UpgradeRequired
from realtime.consumers import PolicyConsumer


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


async def test_routes_lie_below_root_path(connect) -> None:
    connection = connect(ROUTER, path="/site/ws", root_path="/site")
    assert (await connection.until(1))[0]["type"] == "websocket.accept"
    await connection.end()
    connection = connect(ROUTER, path="/ws", root_path="/site")
    await connection.task
    assert connection.sent[0]["status"] == 404


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
