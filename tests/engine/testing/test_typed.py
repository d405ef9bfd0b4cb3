"""Typed sockets: the same in the test's own loop and on a server."""

from __future__ import annotations

import asyncio
import contextlib
import time

import msgspec
import pytest
from django.contrib.auth import get_user_model
from websockets.exceptions import ConnectionClosed

from realtime.engine.protocol.errors import MessageRefused
from realtime.engine.testing import Closed, Refused, connect
from tests.engine.routing import AuthenticatedConsumer, EchoConsumer, PollConsumer, QueryConsumer, Slow, Tally, Vote


class Unknown(msgspec.Struct):
    pass


@pytest.fixture(params=["in this process", "on a server"])
def open_poll(request, live_connect):
    return connect if request.param == "in this process" else live_connect


@pytest.mark.parametrize("subprotocols", [(), ("msgpack",)])
async def test_a_request_is_answered_with_what_the_handler_returns(open_poll, subprotocols) -> None:
    async with open_poll(PollConsumer, subprotocols=subprotocols) as socket:
        assert await socket.request(Vote("tea")) == Tally({"tea": 1})
        assert await socket.request(Vote("tea")) == Tally({"tea": 2})
        assert socket.subprotocol == (subprotocols[0] if subprotocols else None)


async def test_requests_at_the_same_time_get_each_its_own_answer(open_poll) -> None:
    async with open_poll(PollConsumer) as socket:
        answers = await asyncio.gather(*(socket.request(Vote(choice)) for choice in "abc"))
        assert [len(answer.votes) for answer in answers] == [1, 2, 3]


async def test_an_error_is_raised_with_its_code_and_the_socket_lives_on(open_poll) -> None:
    async with open_poll(PollConsumer) as socket:
        with pytest.raises(MessageRefused) as caught:
            await socket.request(Unknown())
        assert caught.value.code == "invalid_message"
        assert "Slow, Vote" in caught.value.detail
        await socket.send("no JSON")
        with pytest.raises(MessageRefused, match="Not valid JSON"):
            await socket.receive()
        await socket.send(Vote("tea"))
        assert await socket.receive(Tally) == Tally({"tea": 1})


async def test_other_messages_wait_for_receive(open_poll) -> None:
    async with open_poll(PollConsumer) as ann, open_poll(PollConsumer) as bob:
        await bob.request(Vote("coffee"))
        assert await ann.request(Vote("tea")) == Tally({"tea": 1})
        assert await ann.receive(Tally) == Tally({"coffee": 1})
        assert await bob.receive() == Tally({"tea": 1})


async def test_another_type_than_expected_fails_the_test(open_poll) -> None:
    async with open_poll(PollConsumer) as socket:
        await socket.send(Vote("tea"))
        with pytest.raises(AssertionError, match="no Unknown"):
            await socket.receive(Unknown)


async def test_a_message_over_the_limit_is_closed_with_1009(open_poll) -> None:
    async with open_poll(PollConsumer) as socket:
        await socket.send(Vote("x" * 5000))
        assert (await socket.closed()).code == 1009


async def test_the_end_of_a_connection_is_an_exception_of_receive(open_poll) -> None:
    async with open_poll(PollConsumer) as socket:
        await socket.send(b"\x80")
        with pytest.raises(ConnectionClosed) as caught:
            await socket.receive()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1003


async def test_a_refused_handshake_is_raised_with_its_problem(open_poll) -> None:
    with pytest.raises(Refused) as caught:
        async with open_poll(AuthenticatedConsumer):
            pass
    assert caught.value.status == 401
    assert caught.value.headers["www-authenticate"].startswith("Bearer")
    assert "token" in caught.value.detail


async def test_query_and_origin_are_those_of_the_handshake(open_poll) -> None:
    async with open_poll(QueryConsumer, query={"user_id": 7, "name": "ann bob"}) as socket:
        await socket.send("hello")
    with pytest.raises(Refused, match="400"):
        async with open_poll(QueryConsumer, query="user_id=x"):
            pass
    with pytest.raises(Refused, match="403"):
        async with open_poll(EchoConsumer, origin="https://elsewhere.example"):
            pass


async def test_a_user_needs_no_token_and_no_database() -> None:
    user = get_user_model()(pk=7)
    async with connect(AuthenticatedConsumer, user=user) as socket:
        assert socket.consumer.user is user
        await socket.send('{"a": 1}')
        assert await socket.receive() == {"a": 1}


async def test_an_endpoint_that_looks_nobody_up_has_no_user() -> None:
    with pytest.raises(ValueError, match="EchoConsumer asks for no user"):
        async with connect(EchoConsumer, user=get_user_model()(pk=7)):
            pass


async def test_a_token_that_expires_closes_the_connection() -> None:
    async with connect(PollConsumer) as socket:
        socket.consumer.expire_at(time.time() + 60)
        await socket.advance(59)
        await socket.request(Vote("tea"))
        await socket.advance(2)
        assert (await socket.closed()).code == 3000


async def test_parameters_come_from_the_route() -> None:
    async with connect(PollConsumer, path="/ws/poll/lunch") as socket:
        assert socket.consumer.scope["url_route"]["kwargs"] == {"name": "lunch"}


async def test_an_exception_of_the_consumer_is_raised_in_the_test() -> None:
    with pytest.raises(LookupError, match="on purpose"):
        async with connect(PollConsumer) as socket:
            await socket.request(Vote("boom"))
    with pytest.raises(LookupError, match="on purpose"):
        async with connect(PollConsumer) as socket:
            await socket.send(Vote("boom"))
    async with connect(PollConsumer) as socket:
        await socket.send(Vote("boom"))
        assert await socket.closed() == Closed(1011, "internal error")


async def test_time_stands_until_it_is_moved() -> None:
    async with connect(PollConsumer, user=get_user_model()(pk=7)) as socket:
        await socket.send(Slow())
        await socket.advance(4.9)
        await socket.advance(0.1)
        with pytest.raises(MessageRefused, match="timeout"):
            await socket.receive()
        with pytest.raises(MessageRefused, match="rate_limited"):
            await socket.request(Slow())
        await socket.advance(55)
        await socket.send(Slow())
        await socket.advance(5)
        with pytest.raises(MessageRefused, match="timeout"):
            await socket.receive()


async def test_who_may_not_is_refused() -> None:
    async with connect(PollConsumer) as socket:
        with pytest.raises(MessageRefused, match="forbidden"):
            await socket.request(Slow())


async def test_the_time_of_a_server_is_its_own(live_connect) -> None:
    async with live_connect(PollConsumer) as socket:
        with pytest.raises(RuntimeError, match="its own"):
            await socket.advance(1)


async def test_a_server_closes_with_1011_where_the_handler_fails(live_connect) -> None:
    async with live_connect(PollConsumer) as socket:
        with contextlib.suppress(ConnectionClosed):
            await socket.request(Vote("boom"))
        assert (await socket.closed()).code == 1011
