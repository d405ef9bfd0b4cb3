from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest
from django.core.exceptions import DisallowedHost

from realtime.engine.errors import HandshakeRejected
from realtime.engine.handshake.origin import check_host, check_origin, deny, is_same_origin, parse_query
from realtime.engine.policy import SocketPolicy


def scope_with(*headers: tuple[str, str], query: bytes = b"", **more: Any) -> dict[str, Any]:
    return {
        "type": "websocket",
        "path": "/ws",
        "query_string": query,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        **more,
    }


SITE = ["app.example", ".wild.example"]

#: id, DEBUG, ALLOWED_HOSTS, Host, whether it may be asked for
HOSTS = [
    ("the site", False, SITE, "app.example", True),
    ("upper case", False, SITE, "APP.example:8000", True),
    ("a subdomain of a wildcard host", False, SITE, "a.wild.example", True),
    ("any host", False, ["*"], "a.example", True),
    ("another site, by a rebound name", False, SITE, "evil.example", False),
    ("a longer name", False, SITE, "app.example.evil.example", False),
    ("no hosts in production", False, [], "localhost", False),
    ("no name", False, ["*"], ":8000", False),
    ("garbage", False, ["*"], "a b", False),
    ("development: localhost", True, [], "localhost:8000", True),
    ("development: a subdomain of localhost", True, [], "app.localhost:8000", True),
    ("development: IPv4", True, [], "127.0.0.1:8000", True),
    ("development: IPv6", True, [], "[::1]:8000", True),
    ("development: another site, by a rebound name", True, [], "evil.example", False),
    ("development: an address of the network", True, [], "192.168.0.7:8000", False),
]


def status_of(check: Callable[..., object], *arguments: Any) -> int:
    try:
        check(*arguments)
    except HandshakeRejected as rejection:
        return int(rejection.status)
    return 101


@pytest.mark.parametrize(
    ("debug", "hosts", "host", "allowed"), [row[1:] for row in HOSTS], ids=[row[0] for row in HOSTS]
)
def test_host_is_held_to_allowed_hosts_as_for_http(settings, rf, debug, hosts, host, allowed) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = debug, hosts
    assert status_of(check_host, scope_with(("host", host))) == (101 if allowed else 400)
    try:
        rf.get("/", headers={"host": host}).get_host()
    except DisallowedHost:
        assert not allowed
    else:
        assert allowed


def test_two_hosts_are_refused(settings) -> None:
    settings.ALLOWED_HOSTS = ["a"]
    assert status_of(check_host, scope_with(("host", "a"), ("host", "a"))) == 400


def test_forwarded_host_counts_where_it_does_for_http(settings) -> None:
    settings.ALLOWED_HOSTS = ["app.example"]
    scope = scope_with(("host", "inside"), ("x-forwarded-host", "app.example"), ("origin", "http://app.example"))
    assert status_of(check_host, scope) == 400
    settings.USE_X_FORWARDED_HOST = True
    assert status_of(check_host, scope) == 101
    assert status_of(check_origin, scope, SocketPolicy()) == 101


def test_scope_of_a_communicator_has_no_host_to_check(settings) -> None:
    settings.ALLOWED_HOSTS = ["app.example"]
    assert status_of(check_host, scope_with()) == 101
    assert status_of(check_origin, scope_with(), SocketPolicy()) == 101
    assert status_of(check_origin, scope_with(("origin", "https://app.example")), SocketPolicy()) == 101
    assert status_of(check_origin, scope_with(("origin", "https://evil.example")), SocketPolicy()) == 403


#: id, ALLOWED_HOSTS (development where empty), address of the site, Origin, status
ORIGINS = [
    ("no browser", SITE, "https://app.example", None, 101),
    ("the site itself", SITE, "https://app.example", "https://app.example", 101),
    ("the site itself, with its default port", SITE, "https://app.example", "https://app.example:443", 101),
    ("the site itself on a port", SITE, "http://app.example:8000", "http://app.example:8000", 101),
    ("the site on another port", SITE, "https://app.example", "https://app.example:8443", 403),
    ("the site by another scheme", SITE, "https://app.example", "http://app.example", 403),
    ("the site by another scheme on its port", SITE, "https://app.example:8000", "http://app.example:8000", 403),
    ("the site by no scheme of the web", SITE, "https://app.example", "ftp://app.example:443", 403),
    ("a subdomain of a wildcard host", SITE, "https://app.example", "https://a.wild.example", 101),
    ("an allowed host on another port", SITE, "https://app.example", "https://a.wild.example:8443", 403),
    ("an allowed host by another scheme", SITE, "https://app.example", "http://a.wild.example", 403),
    ("another site", SITE, "https://app.example", "https://evil.example", 403),
    ("a longer name", SITE, "https://app.example", "https://app.example.evil.example", 403),
    ("the name as user", SITE, "https://app.example", "https://app.example@evil.example", 403),
    ("null", SITE, "https://app.example", "null", 403),
    ("empty", SITE, "https://app.example", "", 403),
    ("garbage", SITE, "https://app.example", "https://[", 403),
    ("a port that is none", SITE, "https://app.example", "https://app.example:x", 403),
    ("upper case", SITE, "https://app.example", "HTTPS://APP.example", 101),
    ("any host: the same one", ["*"], "http://a.example:81", "http://a.example:81", 101),
    ("any host: default port", ["*"], "http://a.example", "http://a.example:80", 101),
    ("any host: another port", ["*"], "http://a.example:81", "http://a.example:82", 403),
    ("any host: another site", ["*"], "http://a.example", "http://b.example", 403),
    ("development: another name of this machine", [], "http://127.0.0.1:8000", "http://localhost:8000", 101),
    ("development: IPv6", [], "http://[::1]:8000", "http://[::1]:8000", 101),
    ("development: another port", [], "http://127.0.0.1:8000", "http://localhost:3000", 403),
    ("development: another site", [], "http://127.0.0.1:8000", "https://evil.example", 403),
]


def request_to(address: str, *headers: tuple[str, str]) -> dict[str, Any]:
    scheme, _, host = address.partition("://")
    return scope_with(("host", host), *headers, scheme={"http": "ws", "https": "wss"}[scheme])


@pytest.mark.parametrize(
    ("hosts", "address", "origin", "status"), [row[1:] for row in ORIGINS], ids=[row[0] for row in ORIGINS]
)
def test_origin_is_compared_by_scheme_host_and_port(settings, hosts, address, origin, status) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = not hosts, hosts
    headers = [] if origin is None else [("origin", origin)]
    assert status_of(check_origin, request_to(address, *headers), SocketPolicy()) == status


@pytest.mark.parametrize(("trusted", "status"), [(True, 101), (False, 403)])
def test_scheme_is_the_one_that_a_trusted_proxy_has_seen(settings, trusted, status) -> None:
    settings.ALLOWED_HOSTS = ["app.example"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if trusted else None
    headers = [("origin", "https://app.example"), ("x-forwarded-proto", "https")]
    assert status_of(check_origin, request_to("http://app.example", *headers), SocketPolicy()) == status


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
    ("predicate is asked without an origin, and says yes", lambda origin, scope: origin is None, None, 101),
    ("predicate is asked without an origin, and says no", lambda origin, scope: origin is not None, None, 403),
    ("no browser", ("https://a.example",), None, 101),
]


@pytest.mark.parametrize(
    ("allowed", "origin", "status"), [row[1:] for row in POLICY_ORIGINS], ids=[row[0] for row in POLICY_ORIGINS]
)
def test_origin_by_policy(allowed, origin, status) -> None:
    scope = request_to("http://app.example", *([] if origin is None else [("origin", origin)]))
    assert status_of(check_origin, scope, SocketPolicy(allowed_origins=allowed)) == status


def test_policy_may_require_an_origin(settings) -> None:
    settings.ALLOWED_HOSTS = ["app.example"]
    policy = SocketPolicy(require_origin=True)
    assert status_of(check_origin, request_to("http://app.example"), policy) == 403
    assert status_of(check_origin, request_to("http://app.example", ("origin", "http://app.example")), policy) == 101


def test_two_origins_are_refused() -> None:
    scope = scope_with(("host", "a"), ("origin", "http://a"), ("origin", "http://a"))
    assert status_of(check_origin, scope, SocketPolicy(allowed_origins=("*",))) == 403


@pytest.mark.parametrize(
    ("address", "origin", "same"),
    [
        ("https://a.example", "https://a.example", True),
        ("http://a.example:8000", "http://a.example:8000", True),
        ("http://a.example:8000", "http://a.example", False),
        ("http://a.example", "https://a.example", False),
        ("https://a.example", "https://b.example", False),
        ("https://a.example", None, False),
    ],
)
def test_same_origin(address: str, origin: str | None, same: bool) -> None:
    headers = [] if origin is None else [("origin", origin)]
    assert is_same_origin(request_to(address, *headers)) is same


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
