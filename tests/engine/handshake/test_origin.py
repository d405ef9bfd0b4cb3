from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import DisallowedHost

from realtime.engine.handshake.origin import check_host, check_origin, is_same_origin
from realtime.engine.protocol.errors import HandshakeRejected
from realtime.engine.protocol.policy import SocketPolicy


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
