"""docs/testing.md is true: its tests run as they are printed."""

from __future__ import annotations

import re

import pytest

from realtime.engine import MessageRefused
from realtime.engine.describe.scaffold import consumer_source
from realtime.engine.testing import PROJECT_ROOT, Refused, ServerProcess, connect, open_socket
from tests import conftest

TEXT = (PROJECT_ROOT / "docs" / "testing.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def printed_test(name: str):
    """The test of this name as it is printed, as a function."""
    [source] = [block for block in BLOCKS if f"def {name}(" in block]
    namespace = {"pytest": pytest, "Refused": Refused, "MessageRefused": MessageRefused, "connect": connect}
    exec(compile(consumer_source("stock_ticker").text, "endpoint", "exec", dont_inherit=True), namespace)
    exec(source, namespace)  # our own document
    return namespace[name]


@pytest.mark.parametrize("name", ["test_a_text_is_answered_in_upper_case", "test_wrong_messages_are_refused"])
async def test_the_tests_without_a_server_pass(name):
    await printed_test(name)()


async def test_the_test_on_a_server_passes(socket):
    await printed_test("test_text_comes_back")(socket)


async def test_the_test_of_a_refusal_passes(socket):
    await printed_test("test_anonymous_clients_are_refused")(socket)


async def test_the_test_of_the_channel_layer_passes(channel_layer):
    await printed_test("test_members_of_a_group_get_what_is_sent_to_it")(channel_layer)


async def test_a_server_with_an_environment_of_its_own_answers():
    assert 'ServerProcess(env={"REALTIME_HEARTBEAT_INTERVAL": "0.2"})' in TEXT
    with ServerProcess(env={"REALTIME_HEARTBEAT_INTERVAL": "0.2"}) as server:
        async with await open_socket(server.ws("/ws/heartbeat")) as client:
            await client.send("hello")
            assert await client.receive() == "hello"
        server.kill()
        assert "Listening on TCP address" in server.log


def test_every_fixture_that_it_names_exists():
    line = re.search(r"The fixtures of `tests/conftest.py` are (.*?)\. ", TEXT, re.DOTALL)[1]
    names = re.findall(r"`(\w+)`", line)
    assert "socket" in names
    assert "npm_package" in names
    assert [name for name in names if not hasattr(conftest, name)] == []
