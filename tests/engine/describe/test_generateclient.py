"""``manage.py generateclient``: what the files say, and when they are out of date."""

from __future__ import annotations

import importlib
import sys

import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.urls import path

from realtime.engine import PolicyConsumer, SocketPolicy, on_message
from realtime.engine.describe.clients import client_modules
from realtime.engine.describe.endpoints import describe_endpoints
from realtime.engine.describe.generate import client_files


class Join(msgspec.Struct, tag_field="type", tag="Join"):
    channel: str
    since: dict[str, int] | None = None
    ref: str | None = None


class Line(msgspec.Struct, tag_field="type", tag="Line"):
    r"""A "line" of the log: \d+ */."""

    channel: str
    seq: int
    text: str = ""


class Joined(msgspec.Struct, tag_field="type", tag="Joined"):
    channel: str
    epoch: str
    seq: int
    recovered: bool
    messages: list[Line]


class Write(msgspec.Struct, tag_field="type", tag="Line"):
    text: str
    ref: str | None = None


class Written(msgspec.Struct, tag_field="type", tag="Written"):
    channel: str
    seq: int
    ref: str


class Query(msgspec.Struct):
    user_id: int
    name: str = ""


class LogFilesConsumer(PolicyConsumer):
    """Follows logs."""

    query_type = Query
    client_messages = Join | Write
    server_messages = Joined | Line | Written
    replies = {Join: Joined, Write: Written}


class Vote(msgspec.Struct, rename="camel"):
    first_choice: str


class Tally(msgspec.Struct):
    votes: dict[str, int]


class PollConsumer(PolicyConsumer):
    """Counts votes."""

    policy = SocketPolicy(subprotocols=("json", "msgpack"))

    @on_message
    async def vote(self, message: Vote) -> Tally | None: ...


class EchoConsumer(PolicyConsumer):
    """Has no types."""


ROUTES = [
    path("ws", EchoConsumer.as_asgi()),
    path("ws/poll/<name>", PollConsumer.as_asgi()),
    path("ws/logs", LogFilesConsumer.as_asgi()),
    path("ws/logs/<channel>", LogFilesConsumer.as_asgi()),
]


@pytest.fixture
def modules():
    return {module.name: module for module in client_modules(describe_endpoints(ROUTES))}


def test_each_consumer_with_messages_has_a_module(modules):
    assert {name: module.class_name for name, module in modules.items()} == {
        "poll": "PollSocket",
        "log_files": "LogFilesSocket",
    }
    assert modules["log_files"].paths == ("/ws/logs", "/ws/logs/{channel}")


def test_replies_are_those_of_the_handlers_or_of_the_class(modules):
    assert modules["poll"].replies == {"Vote": ("Tally", "MessageAck")}
    assert modules["log_files"].replies == {"Join": ("Joined",), "Write": ("Written",)}
    assert modules["log_files"].unreferenced == ["Joined"]
    assert modules["poll"].unreferenced == []


def test_topics_are_found_by_their_messages(modules):
    topics = modules["log_files"].topics
    assert (topics.key, topics.joined, topics.item, topics.seen) == ("channel", "Joined", "Line", ("Written",))
    assert modules["poll"].topics is None


def test_only_json_is_offered(modules):
    assert modules["poll"].subprotocols == ["json"]
    assert modules["log_files"].subprotocols == []


def test_two_consumers_of_one_name_are_refused():
    other = type("PollConsumer", (PollConsumer,), {})
    routes = [path("ws/poll", PollConsumer.as_asgi()), path("ws/other", other.as_asgi())]
    with pytest.raises(ValueError, match="PollConsumer"):
        client_modules(describe_endpoints(routes))


@pytest.mark.parametrize("language", ["typescript", "python"])
def test_no_consumer_takes_the_name_of_a_part_of_the_runtime(language):
    ending = {"typescript": ".js", "python": ".py"}[language]
    names = {name for name in client_files(language, []) if name.endswith(ending) and name[0] != "_"}
    assert names
    for name in names:
        consumer = type(f"{name.removesuffix(ending).capitalize()}Consumer", (PollConsumer,), {})
        files = client_files(language, describe_endpoints([path("ws", consumer.as_asgi())]))
        assert set(files) - set(client_files(language, [])) >= {name.replace(ending, f"_socket{ending}")}
        assert files[name] == client_files(language, [])[name]


def test_the_declarations_in_typescript():
    files = client_files("typescript", describe_endpoints(ROUTES))
    poll, log = files["poll.d.ts"], files["log_files.d.ts"]
    assert 'export interface Vote {\n  type: "Vote";\n  firstChoice: string;\n  ref?: string;\n}\n' in poll
    assert "  Vote: Tally | MessageAck;\n" in poll
    assert "PollSocketOptions = TypedOptions & { params: { name: string; } };" in poll
    # A client may leave out what has a default; the server sends it.
    assert "  since?: { [key: string]: number } | null;\n" in log
    assert '/** A "line" of the log: \\d+ * /. */\nexport interface Line {' in log
    assert "  text: string;\n" in log
    assert "TypedConnection<ClientMessage, ServerMessage, Replies, Joined, Line>" in log
    assert "TypedOptions & { query: { user_id: number; name?: string; } };" in log


def test_a_client_that_the_site_serves_uses_the_runtime_there():
    served = client_files("typescript", describe_endpoints(ROUTES), served=True)
    assert set(served) == {"poll.js", "poll.d.ts", "log_files.js", "log_files.d.ts"}
    assert 'from "../realtime/typed.js"' in served["poll.js"]
    alone = client_files("typescript", describe_endpoints(ROUTES))
    assert {"typed.js", "typed.d.ts", "topics.js", "connection.js", "ticket.js"} <= set(alone)
    assert 'from "./typed.js"' in alone["poll.js"]


def test_the_structs_in_python_are_the_messages(tmp_path, monkeypatch):
    folder = tmp_path / "generated_client"
    folder.mkdir()
    for name, text in client_files("python", describe_endpoints(ROUTES)).items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        poll = importlib.import_module("generated_client.poll")
        log = importlib.import_module("generated_client.log_files")
        vote = msgspec.json.encode(poll.Vote(firstChoice="tea", ref="1"))
        assert msgspec.json.decode(vote) == {"type": "Vote", "firstChoice": "tea", "ref": "1"}
        assert msgspec.json.decode(b'{"type":"Line","channel":"a","seq":1}', type=log.Line).text == ""
        assert (log.Line.__doc__, log.LogFilesSocket.__doc__) == (Line.__doc__, "Follows logs.")
        with pytest.raises(TypeError, match="no address has the parameters"):
            poll.PollSocket("https://example.com")
        socket = poll.PollSocket("https://example.com/about", params={"name": "a b"}, query={"x": 1})
        assert socket.url == "wss://example.com/ws/poll/a%20b?x=1"
    finally:
        for name in [name for name in sys.modules if name.startswith("generated_client")]:
            del sys.modules[name]


@pytest.fixture
def routes(monkeypatch):
    """The routes of the project are these, which a test may change."""
    routes = list(ROUTES)
    monkeypatch.setattr("realtime.engine.describe.endpoints.websocket_urlpatterns", lambda: routes)
    return routes


@pytest.mark.parametrize("language", ["typescript", "python"])
def test_the_check_fails_for_what_is_changed_missing_or_left_over(language, tmp_path, routes):
    def run(*options):
        call_command("generateclient", language, "--output", tmp_path / "client", *options, verbosity=0)

    ending = {"typescript": "js", "python": "py"}[language]
    changed, missing = tmp_path / "client" / f"poll.{ending}", tmp_path / "client" / f"log_files.{ending}"
    with pytest.raises(CommandError, match="out of date"):
        run("--check")
    assert not changed.exists()
    run()
    run("--check")
    text = changed.read_text()
    changed.write_text(text.replace("Vote", "Veto"))
    with pytest.raises(CommandError, match=rf"out of date \(poll.{ending}\)"):
        run("--check")
    run()
    assert changed.read_text() == text
    missing.unlink()
    with pytest.raises(CommandError, match=f"log_files.{ending}"):
        run("--check")
    run()
    del routes[1]
    with pytest.raises(CommandError, match=f"poll.{ending}"):
        run("--check")
    own = tmp_path / "client" / f"own.{ending}"
    own.write_text("mine")
    run()
    assert not changed.exists()
    assert own.read_text() == "mine"
    run("--check")


def test_a_name_that_two_consumers_have_is_an_error_of_the_command(tmp_path, routes):
    routes.append(path("ws/other", type("PollConsumer", (PollConsumer,), {}).as_asgi()))
    with pytest.raises(CommandError, match="give one of them another name"):
        call_command("generateclient", "python", "--output", tmp_path)
