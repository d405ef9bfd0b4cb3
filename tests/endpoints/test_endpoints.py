"""Every endpoint of a real Daphne process, through the client that tests of your own endpoints use."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen

import jwt
import pytest
from django.conf import settings
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode

from realtime.engine import KIB
from realtime.engine.testing import Closed, Refused, ServerProcess, credentials, open_socket


async def refusal(url: str, **options: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await open_socket(url, **options)
    assert caught.value.headers["Content-Type"] == "application/problem+json"
    assert caught.value.problem["status"] == caught.value.status
    assert caught.value.problem["title"]
    return caught.value


def post(server: ServerProcess, path: str, body: dict[str, str], token: str = "") -> dict[str, Any]:
    request = Request(server.http(path), json.dumps(body).encode(), {"Content-Type": "application/json"})
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urlopen(request) as response:
        return json.load(response)


@pytest.fixture(scope="session")
def token(server: ServerProcess, password: str) -> str:
    """An access token of the ordinary user."""
    return post(server, "/api/token/", credentials("ann", password))["access"]


@pytest.mark.parametrize("path", ["/ws", "/ws/", "/ws/policy", "/ws/any-protocol/", "/ws/connect/?user_id=7&name=ann"])
async def test_echo_is_unchanged_and_of_the_same_kind(server, path) -> None:
    async with await open_socket(server.ws(path)) as client:
        for message in ["hi", b"hi", "", b"", "\x00é😀", bytes(range(256)), "x" * 70_000]:
            await client.send(message)
            assert await client.receive() == message


async def test_messages_answers_text_with_echo_and_binary_as_it_is(server) -> None:
    async with await open_socket(server.ws("/ws/messages")) as client:
        for sent, answer in [("x", "echo: x"), ("", "echo: "), (b"x", b"x"), (b"", b"")]:
            await client.send(sent)
            assert await client.receive() == answer


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("", "user_id"),
        ("?name=ann", "user_id"),
        ("?user_id=7", "name"),
        ("?user_id=seven&name=ann", "user_id"),
        ("?user_id=-7&name=ann", "user_id"),
        ("?user_id=7&user_id=8&name=ann", "user_id"),
    ],
)
async def test_connect_refuses_a_bad_query_with_400_and_names_the_parameter(server, query, named) -> None:
    refused = await refusal(server.ws("/ws/connect" + query))
    assert refused.status == 400
    assert named in refused.detail


async def test_auth_takes_an_access_token_before_the_upgrade(server, token) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with await open_socket(server.ws("/ws/auth"), headers=headers) as client:
        await client.send("hi")
        assert await client.receive() == "hi"


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer garbage", "Basic YW5uOmFubg=="])
async def test_auth_refuses_everything_else_with_401(server, authorization) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    refused = await refusal(server.ws("/ws/auth"), headers=headers)
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")


async def test_auth_takes_a_ticket_once(server, token) -> None:
    ticket = post(server, "/api/ws-ticket/", {}, token)
    assert ticket["expires_in"] == 30
    async with await open_socket(server.ws(f"/ws/auth?ticket={ticket['ticket']}")) as client:
        await client.send("hi")
        assert await client.receive() == "hi"
    refused = await refusal(server.ws(f"/ws/auth?ticket={ticket['ticket']}"))
    assert refused.status == 401
    assert "once" in refused.detail
    assert ticket["ticket"] not in server.log


async def test_auth_does_not_take_a_token_in_the_query(server, token) -> None:
    refused = await refusal(server.ws(f"/ws/auth?token={token}"))
    assert refused.status == 401
    assert token not in server.log


async def test_auth_is_closed_with_3000_when_the_token_expires(server, token) -> None:
    claims = jwt.decode(token, options={"verify_signature": False})
    short = jwt.encode({**claims, "exp": time.time() + 1.5}, settings.SECRET_KEY, "HS256")
    headers = {"Authorization": f"Bearer {short}"}
    async with await open_socket(server.ws("/ws/auth"), headers=headers) as client:
        assert await client.closed() == Closed(3000, "the access token has expired")


@pytest.fixture(scope="module")
def own_server() -> Iterator[ServerProcess]:
    """A server that has counted no user of the chat yet, and sends its pings often."""
    environment = {"REALTIME_HEARTBEAT_INTERVAL": "0.2", "REALTIME_HEARTBEAT_TIMEOUT": "5"}
    with ServerProcess(env=environment) as server:
        yield server


async def test_chat_reaches_every_other_client_with_the_number_of_its_author(own_server) -> None:
    url = own_server.ws("/ws/chat")
    async with await open_socket(url) as first, await open_socket(url) as second, await open_socket(url) as third:
        await second.send("hello")
        await second.send(b"ignored")
        await second.send("")
        for reader in (first, third):
            assert await reader.receive() == "<User#2>: hello"
            assert await reader.receive() == "<User#2>: "
        await third.send("bye")
        # What the second reads first is the third's message: its own never came back.
        assert await second.receive() == "<User#3>: bye"


SELECTIONS = [
    ("/ws/policy", ["graphql-transport-ws", "graphql-ws"], "graphql-transport-ws"),
    ("/ws/policy", ["mqtt", "graphql-ws"], "graphql-ws"),
    ("/ws/policy", ["mqtt"], None),
    ("/ws/policy", None, None),
    ("/ws", ["mqtt"], None),
    ("/ws/any-protocol", ["zebra", "graphql-ws"], "zebra"),
    ("/ws/any-protocol", None, None),
]


@pytest.mark.parametrize(("path", "offered", "selected"), SELECTIONS)
async def test_the_subprotocol_is_the_clients_first_that_the_policy_allows(server, path, offered, selected) -> None:
    async with await open_socket(server.ws(path), subprotocols=offered or ()) as client:
        assert client.subprotocol == selected


async def test_a_message_over_the_limit_is_closed_with_1009(server) -> None:
    async with await open_socket(server.ws("/ws/policy")) as client:
        await client.send(b"x" * (256 * KIB))
        assert len(await client.receive()) == 256 * KIB
        await client.connection.send([b"x" * (200 * KIB)] * 6)
        assert (await client.closed()).code == 1009


async def test_a_frame_over_the_limit_is_closed_with_1009(server) -> None:
    async with await open_socket(server.ws("/ws/policy")) as client:
        await client.send(b"x" * (256 * KIB + 1))
        assert (await client.closed()).code == 1009


async def test_heartbeat_pings_at_its_interval_and_lives_while_the_peer_answers(own_server) -> None:
    async with await open_socket(own_server.ws("/ws/heartbeat")) as client:
        third_pong = asyncio.Event()
        pongs = 0
        send_frame = client.connection.protocol.send_frame

        def count_pongs(frame: Frame) -> None:
            nonlocal pongs
            pongs += frame.opcode is Opcode.PONG
            if pongs == 3:
                third_pong.set()
            send_frame(frame)

        client.connection.protocol.send_frame = count_pongs  # type: ignore[method-assign]
        await asyncio.wait_for(third_pong.wait(), 10)
        await client.send("alive")
        assert await client.receive() == "alive"


@pytest.mark.parametrize("path", ["/nope", "/ws/nope", "/", "/ws/rooms/a/b"])
async def test_an_unknown_path_is_404(server, path) -> None:
    refused = await refusal(server.ws(path))
    assert refused.status == 404


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example"])
async def test_a_foreign_origin_is_403_and_logged_with_its_cause(server, origin) -> None:
    refused = await refusal(server.ws("/ws"), origin=origin)
    assert refused.status == 403
    assert origin in refused.detail
    assert f"origin={origin} " in server.log


async def test_the_pages_own_origin_is_let_in(server) -> None:
    async with await open_socket(server.ws("/ws"), origin=f"http://127.0.0.1:{server.port}") as client:
        await client.send("hi")
        assert await client.receive() == "hi"


@pytest.mark.parametrize("path", ["/ws", "/ws/nowhere"])
async def test_a_rebound_name_is_400_and_logged_with_its_cause(server, path) -> None:
    name = f"evil.example:{server.port}"
    with pytest.raises(InvalidStatus) as caught:
        await connect(f"ws://{name}{path}", host="127.0.0.1", origin=f"http://{name}")
    response = caught.value.response
    assert (response.status_code, name in json.loads(response.body)["detail"]) == (400, True)
    assert f"host={name} path={path}" in server.log


async def test_the_own_host_by_another_scheme_or_on_another_port_is_a_foreign_origin(server) -> None:
    for origin in (f"https://127.0.0.1:{server.port}", "http://127.0.0.1", f"http://127.0.0.1:{server.port + 1}"):
        assert (await refusal(server.ws("/ws"), origin=origin)).status == 403
