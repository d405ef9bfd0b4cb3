from __future__ import annotations

import json
import logging
from typing import Any

import psycopg
import pytest
from django.db import DataError, IntegrityError, InterfaceError, InternalError, OperationalError
from redis.exceptions import RedisError

from realtime.engine.handshake.denial import deny, is_outage
from realtime.engine.protocol.errors import HandshakeRejected, UpstreamUnavailable


def raised_from(error: Exception, cause: Exception) -> Exception:
    """Return an error of Django with the error of the driver as its cause."""
    error.__cause__ = cause
    return error


#: id, error, whether a service is away
ERRORS = [
    ("database away", OperationalError("connection refused"), True),
    ("connection closed", InterfaceError("connection already closed"), True),
    ("read-only", raised_from(InternalError(), psycopg.errors.ReadOnlySqlTransaction()), True),
    ("Redis away", RedisError(), True),
    ("layer away", UpstreamUnavailable("redis://a", OSError()), True),
    ("internal error", raised_from(InternalError(), psycopg.errors.InFailedSqlTransaction()), False),
    ("internal error of no driver", InternalError(), False),
    ("conflict", IntegrityError(), False),
    ("bad value", DataError(), False),
    ("bug", ValueError(), False),
]


@pytest.mark.parametrize(("error", "outage"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS])
def test_outage_is_an_error_of_a_service_and_not_of_the_program(error: Exception, outage: bool) -> None:
    assert is_outage(error) is outage


async def sent_for(extensions: dict[str, Any]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    rejection = HandshakeRejected(401, "No.", headers={"WWW-Authenticate": "Bearer"})
    scope = {
        "type": "websocket",
        "path": "/ws",
        "query_string": b"ticket=hunter2",
        "headers": [(b"host", b"a")],
        "extensions": extensions,
    }
    await deny(scope, send, rejection)
    return sent


async def test_a_refusal_is_a_problem_where_the_server_can_send_one() -> None:
    start, body = await sent_for({"websocket.http.response": {}})
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert (b"www-authenticate", b"Bearer") in start["headers"]
    assert body["type"] == "websocket.http.response.body"
    assert json.loads(body["body"]) == {"title": "Unauthorized", "status": 401, "detail": "No."}


async def test_a_refusal_is_a_close_where_it_cannot() -> None:
    assert await sent_for({}) == [{"type": "websocket.close", "code": 3000, "reason": "No."}]


async def test_a_refusal_is_one_log_line_with_its_cause_and_without_the_query(caplog) -> None:
    with caplog.at_level(logging.WARNING, "realtime.handshake"):
        await sent_for({})
    [record] = caplog.records
    line = record.getMessage()
    assert "status=401" in line
    assert "cause=No." in line
    assert "path=/ws" in line
    assert "hunter2" not in line


@pytest.mark.parametrize("status", [200, 302, 399, 600])
def test_a_rejection_is_an_error_status(status: int) -> None:
    with pytest.raises(ValueError, match=str(status)):
        HandshakeRejected(status, "x")
