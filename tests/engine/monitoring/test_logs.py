from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime.engine.monitoring import logs
from realtime.engine.testing import ServerProcess

#: What a client may put into a query, and nobody may find in a log.
SECRET = "s3cr3t-in-the-query"
#: As a link to a new password carries it, in its path.
RESET_TOKEN = "d1zxg7-0123456789abcdef0123456789abcdef"


def record(message: str = "said %s", *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("realtime.test", logging.INFO, "file.py", 1, message, args, None)
    vars(made).update(extra)
    return made


def request(address: str) -> None:
    """Ask for something, whatever the answer."""
    try:
        urllib.request.urlopen(address, timeout=10).close()
    except urllib.error.HTTPError as error:
        error.close()


def int_of_nothing() -> None:
    raise ValueError("no such thing")


# Formats


def test_json_is_one_object_on_one_line_with_the_fields_of_the_event() -> None:
    made = record("closed", event="closed", fields={"code": 1000, "reason": 'a "word"\nand a line'})
    line = logs.JsonFormatter().format(made)
    entry = json.loads(line)
    assert "\n" not in line
    assert (entry["level"], entry["logger"], entry["event"]) == ("INFO", "realtime.test", "closed")
    assert (entry["code"], entry["reason"]) == (1000, 'a "word"\nand a line')
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["time"])


@pytest.mark.parametrize("formatter", [logs.JsonFormatter(), logs.KeyValueFormatter()])
def test_a_traceback_stays_on_the_line(formatter: logging.Formatter) -> None:
    made = record("failed")
    with pytest.raises(ValueError, match="such") as caught:
        int_of_nothing()
    made.exc_info = (ValueError, caught.value, caught.tb)
    line = formatter.format(made)
    assert "\n" not in line
    assert "ValueError: no such thing" in line


def test_a_client_cannot_forge_a_field_or_a_line() -> None:
    line = logs.KeyValueFormatter().format(
        record("%s", "x", fields={"path": '/a b" level=ERROR\nlevel=ERROR'}, event="e")
    )
    assert line.count("\n") == 0
    assert re.findall(r"(?:^| )level=(\S+)", re.sub(r'"(?:[^"\\]|\\.)*"', '""', line)) == ["INFO"]


@pytest.mark.parametrize("formatter", [logs.TextFormatter(), logs.KeyValueFormatter(), logs.JsonFormatter()])
def test_what_is_logged_inside_a_connection_carries_its_id(formatter: logging.Formatter) -> None:
    token = logs.CONNECTION_ID.set("9f2c")
    try:
        assert "9f2c" in formatter.format(record("said %s", "x"))
    finally:
        logs.CONNECTION_ID.reset(token)
    assert "connection" not in formatter.format(record("said %s", "x"))


@pytest.mark.parametrize(
    "line",
    [
        f"GET /ws/auth?ticket={SECRET} HTTP/1.1",
        f"GET /ws?a=1&token={SECRET}&b=2",
        f"authorization: Bearer {SECRET}",
        f"kwargs: password={SECRET} host=x",
        f"Internal Server Error: /password/reset/MQ/{RESET_TOKEN}/",
        f"GET /password/reset/MQ/{RESET_TOKEN} HTTP/1.1",
    ],
)
def test_secrets_are_removed_from_whatever_is_logged(line: str) -> None:
    cleaned = logs.redact(line)
    assert SECRET not in cleaned
    assert RESET_TOKEN not in cleaned
    assert "[removed]" in cleaned


def test_a_token_of_django_looks_as_the_one_of_these_tests() -> None:
    token = PasswordResetTokenGenerator().make_token(get_user_model()(pk=1, password="x"))
    assert logs.redact(f"/reset/{token}/") == "/reset/[removed]/"


@pytest.mark.parametrize("path", ["/rooms/room-0123456789abcdef/", "/a/9f2c0123456789abcdef0123456789abcdef/"])
def test_an_ordinary_path_stays_as_it_is(path: str) -> None:
    assert logs.redact(path) == path


def test_other_servers_access_lines_lose_their_queries() -> None:
    made = record('%s - "%s %s HTTP/%s" %d', "127.0.0.1", "GET", f"/ws/auth?ticket={SECRET}", "1.1", 200)
    assert logs.WithoutQuery().filter(made)
    assert made.getMessage() == '127.0.0.1 - "GET /ws/auth HTTP/1.1" 200'


# Refused handshakes


def test_line_has_status_cause_origin_host_and_path_and_no_query(caplog: pytest.LogCaptureFixture) -> None:
    headers = [(b"origin", b"https://a.example"), (b"host", b"b.example"), (b"authorization", b"Bearer s3cret")]
    with caplog.at_level(logging.INFO, "realtime.handshake"):
        logs.log_refusal(403, "no", b"/ws?ticket=s3cret", headers)
    assert caplog.messages == ["handshake refused status=403 cause=no origin=https://a.example host=b.example path=/ws"]


def test_value_of_a_client_cannot_forge_a_line_or_a_field(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "realtime.handshake"):
        logs.log_refusal(403, "no", b"/", [(b"origin", b'x" status=200\r\nfake')])
    (line,) = caplog.messages
    assert "\n" not in line
    assert 'origin="x\\" status=200\\r\\nfake"' in line


# Real servers


@pytest.fixture(params=["daphne", "runserver", "uvicorn", "daphne --access-log -", "daphne --access-log /dev/stderr"])
def noisy_server(request: pytest.FixtureRequest, database: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    """Each server with everything logged that it can log."""
    copy = tmp_path / "db.sqlite3"
    copy.write_bytes(database.read_bytes())
    daphne = ServerProcess.DAPHNE
    commands = {
        "daphne": daphne,
        "runserver": ServerProcess.RUNSERVER,
        "uvicorn": (
            daphne[0], "-m", "uvicorn", "--ws", "realtime.engine.server.uvicorn:WebSocketProtocol", "--port", "{port}",
            daphne[-1],
        ),
        "daphne --access-log -": (*daphne[:-1], "--access-log", "-", daphne[-1]),
        "daphne --access-log /dev/stderr": (*daphne[:-1], "--access-log", "/dev/stderr", daphne[-1]),
    }  # fmt: skip
    with ServerProcess(commands[request.param], database=copy, env={"REALTIME_ACCESS_LOG": "1"}) as process:
        yield process


async def test_no_ticket_or_token_reaches_the_log_of_any_server(noisy_server: ServerProcess) -> None:
    for query in (f"ticket={SECRET}", f"token={SECRET}", f"anything={SECRET}"):
        for path in ("/ws/auth", "/ws/nowhere", "/ws/connect"):
            with pytest.raises(InvalidStatus):
                await connect(noisy_server.ws(f"{path}?{query}"))
        for path in ("/ws/auth", "/ws", "/", "/nowhere", f"/nowhere/{RESET_TOKEN}/", "/admin/", "/healthz"):
            request(noisy_server.http(f"{path}?{query}"))
    async with connect(noisy_server.ws(f"/ws?token={SECRET}")) as client:
        await client.send(f"a body with {SECRET}")
        await client.recv()
    noisy_server.stop()
    assert "/nowhere" in noisy_server.log
    assert "/nowhere/[removed]/" in noisy_server.log
    assert SECRET not in noisy_server.log
    assert RESET_TOKEN not in noisy_server.log


async def test_handshake_error_and_close_of_a_connection_share_its_id() -> None:
    environment = {"REALTIME_LOG_FORMAT": "json", "REALTIME_ACCESS_LOG": "1"}
    with ServerProcess(env=environment) as server:
        async with connect(server.ws("/ws/failing")) as client, connect(server.ws("/ws")) as other:
            await client.send("now")
            with pytest.raises(ConnectionClosed):
                await client.recv()
            await other.close()
        server.stop()
        entries = [json.loads(line) for line in server.log.splitlines()]
    failed = [entry for entry in entries if entry["level"] == "ERROR"]
    assert len(failed) == 1
    assert "RuntimeError: on purpose" in failed[0]["exception"]
    mine = [entry for entry in entries if entry.get("connection") == failed[0]["connection"]]
    assert [entry.get("event") for entry in mine] == ["opened", "closed", None]
    assert (mine[1]["code"], mine[1]["by"], mine[1]["path"]) == (1011, "server", "/ws/failing")
    assert len({entry["connection"] for entry in entries if "connection" in entry}) == 2


def wait_for_line(server: ServerProcess, text: str) -> None:
    """Return when the server has logged ``text``: it does what its clients notice first."""
    while text not in server.log:
        time.sleep(0.01)


async def test_a_quiet_production_logs_what_broke_a_rule_and_nothing_ordinary() -> None:
    environment = {"DJANGO_SECRET_KEY": "k" * 50, "DJANGO_ALLOWED_HOSTS": "127.0.0.1"}
    with ServerProcess(env=environment) as server:
        await asyncio.to_thread(wait_for_line, server, "Listening on TCP address")
        quiet = len(server.log.splitlines())
        async with connect(server.ws("/ws")) as client:
            await client.send("x")
            await client.recv()
        request(server.http("/healthz"))
        async with connect(server.ws("/ws/policy")) as client:
            await client.send("x" * (300 * 1024))
            with pytest.raises(ConnectionClosed):
                await client.recv()
        await asyncio.to_thread(wait_for_line, server, "event=closed")
        lines = server.log.splitlines()[quiet:]
    assert len(lines) == 1
    assert "level=WARNING" in lines[0]
    assert "event=closed" in lines[0]
    assert "code=1009" in lines[0]
