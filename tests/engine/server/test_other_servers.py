"""The consumers on servers without the project's wire: what these can do is done, and what they cannot is logged."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from realtime.engine.testing import ServerProcess
from realtime.engine.testing.client import Refused, open_socket

APPLICATION = "tests.engine.server.other_servers:application"
UVICORN = (sys.executable, "-m", "uvicorn", "--port", "{port}", APPLICATION, "--ws")
DAPHNE = (sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", APPLICATION)
WIRE = "realtime.engine.server.uvicorn:WebSocketProtocol"


def serve(command: tuple[str, ...], **env: str) -> ServerProcess:
    return ServerProcess(command, env={"DATABASE_URL": "sqlite://:memory:", **env})


@pytest.fixture(scope="module", params=["websockets", "websockets-sansio", "wsproto", WIRE])
def uvicorn(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """Uvicorn with each of its own protocols, and with the wire."""
    if request.param == "wsproto" and find_spec("wsproto") is None:
        pytest.skip("wsproto is not installed")
    with serve((*UVICORN, request.param)) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/ws/nowhere", 404, "There is no WebSocket endpoint at this path."),
        ("/ws/connect?user_id=x&name=ann", 400, "Query parameter 'user_id': expected an integer in decimal digits."),
        ("/ws/closing", 403, "The application refused the connection."),
        ("/ws/closing/full", 403, "full"),
        ("/ws/stock", 403, "The application refused the connection."),
        ("/ws/synchronous", 403, "The application refused the connection."),
    ],
)
async def test_refusal_has_a_body(uvicorn: ServerProcess, path: str, status: int, detail: str) -> None:
    with pytest.raises(Refused) as caught:
        await open_socket(uvicorn.ws(path))
    assert caught.value.headers["content-type"] == "application/problem+json"
    assert (caught.value.status, caught.value.detail) == (status, detail)


@pytest.mark.parametrize(
    ("path", "selected"), [("/ws/policy", "graphql-transport-ws"), ("/ws/any-protocol", "unknown"), ("/ws", None)]
)
async def test_subprotocol_is_selected(uvicorn: ServerProcess, path: str, selected: str | None) -> None:
    offers = ["unknown", "graphql-transport-ws", "graphql-ws"]
    async with await open_socket(uvicorn.ws(path), subprotocols=offers) as client:
        assert client.subprotocol == selected


async def test_refusal_by_stock_daphne_is_a_403() -> None:
    with serve(DAPHNE, STOCK_DAPHNE="1") as server:
        for path in ("/ws/nowhere", "/ws/closing", "/ws/stock"):
            with pytest.raises(Refused) as caught:
                await open_socket(server.ws(path))
            assert caught.value.status == 403


async def test_disconnect_gets_the_code_and_reason_of_a_close(uvicorn: ServerProcess) -> None:
    client = await open_socket(uvicorn.ws("/ws/leaving"))
    await client.connection.close(4001, "lunch")
    async with await open_socket(uvicorn.ws("/ws/ends")) as witness:
        assert await witness.receive() == "4001 lunch"


async def test_server_that_cannot_send_a_policy_s_pings_says_so_once(uvicorn: ServerProcess) -> None:
    for _ in range(2):
        async with await open_socket(uvicorn.ws("/ws/heartbeat")) as client:
            await client.send("x")
            assert await client.receive() == "x"
    expected = 0 if WIRE in uvicorn.command else 1
    assert uvicorn.log.count("of HeartbeatConsumer's policy") == expected
    assert uvicorn.log.count("no pings are sent") == expected
