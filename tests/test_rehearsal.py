"""POST /api/handshake/: the answer to a handshake, over HTTP."""

from __future__ import annotations

import asyncio

import pytest
from django.test import AsyncClient

from realtime import rehearsal
from realtime.rehearsal import Outcome, rehearse

pytestmark = pytest.mark.django_db(transaction=True)


async def ask(client: AsyncClient, address: str, protocols: tuple[str, ...] = (), **headers: str) -> dict:
    body = {"address": address, "protocols": list(protocols)}
    answer = await client.post("/api/handshake/", body, content_type="application/json", headers=headers)
    assert answer.status_code == 200
    return answer.json()


@pytest.mark.parametrize(
    ("address", "status", "detail"),
    [
        ("/ws", 101, None),
        ("/ws/", 101, None),
        ("/ws/connect?user_id=7&name=ann", 101, None),
        ("/ws/connect?user_id=x&name=ann", 400, "user_id"),
        ("/ws/connect?user_id=7", 400, "name"),
        ("/ws/auth", 401, "access token"),
        ("/ws/auth?ticket=forged", 401, "ticket"),
        ("/ws/nowhere", 404, "no WebSocket endpoint"),
    ],
)
async def test_it_tells_what_a_handshake_would_be_answered(async_client, address, status, detail):
    answer = await ask(async_client, address)
    assert answer["status"] == status
    if detail is None:
        assert answer["problem"] is None
    else:
        assert answer["problem"]["status"] == status
        assert detail in answer["problem"]["detail"]


async def test_it_tells_the_subprotocol(async_client):
    answer = await ask(async_client, "/ws/policy", ("unknown", "graphql-transport-ws", "graphql-ws"))
    assert (answer["status"], answer["subprotocol"]) == (101, "graphql-transport-ws")


async def test_the_origin_counts_as_it_does_in_a_handshake(async_client):
    answer = await ask(async_client, "/ws", origin="https://elsewhere.example")
    assert (answer["status"], "elsewhere.example" in answer["problem"]["detail"]) == (403, True)


async def test_the_session_counts_as_it_does_in_a_handshake(async_client, django_user_model):
    user = await django_user_model.objects.acreate_user("ann")
    await async_client.aforce_login(user)
    assert (await ask(async_client, "/ws/auth", origin="http://testserver"))["status"] == 101
    # Without an Origin nobody knows which site sent the cookie.
    assert (await ask(async_client, "/ws/auth"))["status"] == 401


@pytest.mark.parametrize("address", ["https://elsewhere.example/ws", "//elsewhere.example/ws", "ws", ""])
async def test_an_address_that_is_no_path_of_this_site_is_refused(async_client, address):
    answer = await async_client.post("/api/handshake/", {"address": address}, content_type="application/json")
    assert (answer.status_code, answer.json()["title"]) == (400, "Bad Request")


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"address": 7}', '{"address": "/' + "x" * 20_000 + '"}'])
async def test_a_body_that_is_no_question_is_refused(async_client, body):
    answer = await async_client.post("/api/handshake/", body, content_type="application/json")
    assert answer.status_code == 400


async def test_it_is_only_asked_by_pages_of_this_site():
    client = AsyncClient(enforce_csrf_checks=True)
    answer = await client.post("/api/handshake/", {"address": "/ws"}, content_type="application/json")
    assert answer.status_code == 403


async def test_an_accepted_connection_ends_at_once():
    seen = []

    async def application(scope, receive, send):
        seen.append((await receive())["type"])
        await send({"type": "websocket.accept", "subprotocol": "a"})
        await send({"type": "websocket.send", "text": "hello"})
        seen.append(await receive())

    assert await rehearse({}, application) == Outcome(101, "a")
    assert seen == ["websocket.connect", {"type": "websocket.disconnect", "code": 1001, "reason": ""}]


async def test_a_close_before_the_accept_is_a_403():
    async def application(scope, receive, send):
        await send({"type": "websocket.close", "code": 1008, "reason": "no"})

    outcome = await rehearse({}, application)
    assert (outcome.status, outcome.problem["detail"]) == (403, "no")


async def test_an_application_that_decides_nothing_is_a_500():
    async def application(scope, receive, send):
        return

    assert (await rehearse({}, application)).status == 500


async def test_an_application_that_fails_is_a_500_and_its_error_is_logged(caplog):
    async def application(scope, receive, send):
        raise RuntimeError("boom")

    assert (await rehearse({}, application)).status == 500
    assert "boom" in caplog.text


async def test_an_application_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(rehearsal, "TIMEOUT", 0.01)

    async def application(scope, receive, send):
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await rehearse({}, application)


async def test_an_endpoint_that_hangs_is_a_503_as_it_is_on_the_wire(async_client, monkeypatch):
    async def hang(scope, application=None):
        raise TimeoutError

    monkeypatch.setattr(rehearsal, "rehearse", hang)
    answer = await ask(async_client, "/ws")
    assert (answer["status"], answer["problem"]["detail"]) == (503, "The endpoint took too long to decide.")
