"""The client that tests and scripts use, on a real server."""

from __future__ import annotations

import pytest
from websockets.asyncio.server import ServerConnection, serve

from realtime.engine.testing import client as testing_client
from realtime.engine.testing.client import Closed, Refused, open_socket


@pytest.mark.parametrize("message", ["", "grüße", b"", b"\x00\xff"])
async def test_messages_come_back_as_they_were_the_empty_ones_too(server, message):
    async with await open_socket(server.ws("/ws")) as client:
        await client.send(message)
        assert await client.receive() == message


async def test_json_goes_both_ways(server):
    async with await open_socket(server.ws("/ws")) as client:
        await client.send_json({"type": "Ping"})
        assert await client.receive_json() == {"type": "Ping"}


async def test_a_refusal_has_status_problem_and_headers(server):
    with pytest.raises(Refused, match="401") as caught:
        await open_socket(server.ws("/ws/auth"))
    assert caught.value.status == 401
    assert caught.value.problem["title"] == "Unauthorized"
    assert "token" in caught.value.detail
    assert caught.value.headers["www-authenticate"].startswith("Bearer")


async def test_an_origin_is_sent(server):
    with pytest.raises(Refused, match="403"):
        await open_socket(server.ws("/ws"), origin="https://elsewhere.example")


async def test_a_token_and_further_headers_are_sent(server):
    with pytest.raises(Refused) as caught:
        await open_socket(server.ws("/ws/auth"), token="no token", headers={"X-Request-Id": "7"})
    assert "invalid_token" in caught.value.headers["www-authenticate"]


async def test_the_selected_subprotocol_is_known(server):
    async with await open_socket(server.ws("/ws/policy"), subprotocols=("unknown", "graphql-ws")) as client:
        assert client.subprotocol == "graphql-ws"


async def test_a_ping_returns_the_latency(server):
    async with await open_socket(server.ws("/ws")) as client:
        assert 0 < await client.ping() < testing_client.TIMEOUT


async def test_the_end_has_its_code_and_reason_whatever_was_on_the_way(server):
    client = await open_socket(server.ws("/ws/policy"))
    await client.send("one")
    await client.send("x" * (2**20 + 1))
    end = await client.closed()
    assert end.code == 1009
    assert end.reason


async def test_an_end_without_a_close_frame_is_1006():
    async def vanish(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with serve(vanish, "127.0.0.1", 0) as other:
        client = await open_socket(f"ws://127.0.0.1:{other.sockets[0].getsockname()[1]}/")
        assert await client.closed() == Closed(1006, "")


async def test_a_silent_server_fails_the_test_instead_of_hanging_it(server, monkeypatch):
    async with await open_socket(server.ws("/ws")) as client:
        monkeypatch.setattr(testing_client, "TIMEOUT", 0.01)
        with pytest.raises(TimeoutError):
            await client.receive()
        with pytest.raises(TimeoutError):
            await client.closed()
        monkeypatch.undo()


async def test_a_refusal_without_a_problem_document_has_an_empty_one():
    def refuse(connection, request):
        return connection.respond(418, "a teapot")

    async def unused(connection: ServerConnection) -> None:
        raise AssertionError("refused before")

    async with serve(unused, "127.0.0.1", 0, process_request=refuse) as other:
        with pytest.raises(Refused) as caught:
            await open_socket(f"ws://127.0.0.1:{other.sockets[0].getsockname()[1]}/")
    assert (caught.value.status, caught.value.problem, caught.value.detail) == (418, {}, "")
