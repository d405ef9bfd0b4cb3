from __future__ import annotations

import json
import logging
from typing import Annotated, Any

import msgspec
import pytest

from realtime.errors import HandshakeRejected
from realtime.handshake import check_origin, deny, is_same_origin, parse_query
from realtime.policy import SocketPolicy


def scope_with(*headers: tuple[str, str], query: bytes = b"", **more: Any) -> dict[str, Any]:
    return {
        "type": "websocket",
        "path": "/ws",
        "query_string": query,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        **more,
    }


def origin_status(scope: dict[str, Any], policy: SocketPolicy) -> int:
    try:
        check_origin(scope, policy)
    except HandshakeRejected as rejection:
        return int(rejection.status)
    return 101


SITE = ["app.example", ".wild.example"]

#: id, DEBUG, ALLOWED_HOSTS, Host, Origin, status
ORIGINS = [
    ("no browser", False, SITE, "app.example", None, 101),
    ("the site itself", False, SITE, "app.example", "https://app.example", 101),
    ("the site on another port", False, SITE, "app.example", "https://app.example:8443", 101),
    ("a subdomain of a wildcard host", False, SITE, "app.example", "https://a.wild.example", 101),
    ("another site", False, SITE, "app.example", "https://evil.example", 403),
    ("a longer name", False, SITE, "app.example", "https://app.example.evil.example", 403),
    ("the name as user", False, SITE, "app.example", "https://app.example@evil.example", 403),
    ("a rebound name", False, SITE, "evil.example", "https://evil.example", 403),
    ("null", False, SITE, "app.example", "null", 403),
    ("empty", False, SITE, "app.example", "", 403),
    ("garbage", False, SITE, "app.example", "https://[", 403),
    ("a port that is none", False, SITE, "app.example", "https://app.example:x", 403),
    ("upper case", False, SITE, "app.example", "HTTPS://APP.example", 101),
    ("any host: the same one", False, ["*"], "a.example:81", "http://a.example:81", 101),
    ("any host: default port", False, ["*"], "a.example", "http://a.example:80", 101),
    ("any host: another port", False, ["*"], "a.example:81", "http://a.example:82", 403),
    ("any host: another site", False, ["*"], "a.example", "http://b.example", 403),
    ("development: localhost", True, [], "127.0.0.1:8000", "http://localhost:3000", 101),
    ("development: IPv6", True, [], "[::1]:8000", "http://[::1]:8000", 101),
    ("development: the same host", True, [], "lan.example:8000", "http://lan.example:8000", 101),
    ("development: another site", True, [], "127.0.0.1:8000", "https://evil.example", 403),
]


@pytest.mark.parametrize(
    ("debug", "hosts", "host", "origin", "status"), [row[1:] for row in ORIGINS], ids=[row[0] for row in ORIGINS]
)
def test_origin_by_host_and_allowed_hosts(settings, debug, hosts, host, origin, status) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = debug, hosts
    headers = [("host", host)] + ([] if origin is None else [("origin", origin)])
    assert origin_status(scope_with(*headers), SocketPolicy()) == status


#: id, allowed_origins, Origin, status
POLICY_ORIGINS = [
    ("listed", ("https://a.example",), "https://a.example", 101),
    ("default port", ("https://a.example:443",), "https://a.example", 101),
    ("another scheme", ("https://a.example",), "http://a.example", 403),
    ("another port", ("https://a.example",), "https://a.example:444", 403),
    ("the list replaces the host", ("https://a.example",), "http://app.example", 403),
    ("subdomain", ("https://*.a.example",), "https://x.a.example", 101),
    ("the domain itself is no subdomain", ("https://*.a.example",), "https://a.example", 403),
    ("a name that only ends alike", ("https://*.a.example",), "https://xa.example", 403),
    ("everybody", ("*",), "https://evil.example", 101),
    ("everybody, null too", ("*",), "null", 101),
    ("nobody", (), "http://app.example", 403),
    ("predicate says yes", lambda origin, scope: origin == "null", "null", 101),
    ("predicate says no", lambda origin, scope: scope["path"] != "/ws", "https://a.example", 403),
]


@pytest.mark.parametrize(
    ("allowed", "origin", "status"), [row[1:] for row in POLICY_ORIGINS], ids=[row[0] for row in POLICY_ORIGINS]
)
def test_origin_by_policy(allowed, origin, status) -> None:
    scope = scope_with(("host", "app.example"), ("origin", origin))
    assert origin_status(scope, SocketPolicy(allowed_origins=allowed)) == status


def test_two_origins_are_refused() -> None:
    scope = scope_with(("host", "a"), ("origin", "http://a"), ("origin", "http://a"))
    assert origin_status(scope, SocketPolicy(allowed_origins=("*",))) == 403


@pytest.mark.parametrize(
    ("host", "origin", "same"),
    [
        ("a.example", "https://a.example", True),
        ("a.example:8000", "http://a.example:8000", True),
        ("a.example:8000", "http://a.example", False),
        ("a.example", "https://b.example", False),
        ("a.example", None, False),
    ],
)
def test_same_origin(host: str, origin: str | None, same: bool) -> None:
    headers = [("host", host)] + ([] if origin is None else [("origin", origin)])
    assert is_same_origin(scope_with(*headers)) is same


class Query(msgspec.Struct):
    user_id: Annotated[int, msgspec.Meta(ge=0, description="a number")]
    name: str
    limit: int | None = None


def query_rejection(query: bytes) -> HandshakeRejected:
    with pytest.raises(HandshakeRejected) as caught:
        parse_query(scope_with(query=query), Query)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize(
    ("query", "parsed"),
    [
        (b"user_id=7&name=ann", Query(7, "ann")),
        (b"name=ann&user_id=0", Query(0, "ann")),
        (b"user_id=7&name=", Query(7, "")),
        (b"user_id=7&name=J%C3%B6rg+K.&more=1", Query(7, "Jörg K.")),
        (b"user_id=7&name=a&limit=-3", Query(7, "a", -3)),
    ],
)
def test_a_query_becomes_a_struct(query: bytes, parsed: Query) -> None:
    assert parse_query(scope_with(query=query), Query) == parsed


#: query string, what the detail names
BAD_QUERIES = [
    (b"", "'user_id' is missing"),
    (b"name=ann", "'user_id' is missing"),
    (b"user_id=7", "'name' is missing"),
    (b"user_id=&name=a", "'user_id'"),
    (b"user_id=-1&name=a", "'user_id'"),
    (b"user_id=7.0&name=a", "'user_id'"),
    (b"user_id=1e1&name=a", "'user_id'"),
    (b"user_id=0x7&name=a", "'user_id'"),
    (b"user_id=%207&name=a", "'user_id'"),
    (b"user_id=%D9%A7&name=a", "'user_id'"),
    (b"user_id=seven&name=a", "'user_id'"),
    (b"user_id=" + b"9" * 5000 + b"&name=a", "'user_id'"),
    (b"user_id=7&user_id=8&name=a", "'user_id' is given more than once"),
    (b"user_id=7&name=a&name=a", "'name' is given more than once"),
    (b"user_id=7&name=%FF", "UTF-8"),
    (b"user_id=7&name=\xff", "UTF-8"),
    (b"user_id=7&name=a&limit=x", "'limit'"),
    (b"&".join(b"x%d=1" % number for number in range(200)), "100 parameters"),
]


@pytest.mark.parametrize(("query", "named"), BAD_QUERIES, ids=[str(row[0][:30]) for row in BAD_QUERIES])
def test_a_bad_query_is_400_and_names_the_parameter(query: bytes, named: str) -> None:
    assert named in query_rejection(query).detail


async def sent_for(extensions: dict[str, Any]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    rejection = HandshakeRejected(401, "No.", headers={"WWW-Authenticate": "Bearer"})
    scope = scope_with(("host", "a"), query=b"ticket=hunter2", extensions=extensions)
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
