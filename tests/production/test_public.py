"""What the public sees through nginx and the production settings."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

import pytest
from websockets.asyncio.client import connect

from realtime.engine.testing import ServerProcess

ENVIRONMENT = {
    "DJANGO_SECRET_KEY": "a-secret-of-the-test-0123456789-0123456789-0123456789",
    "DJANGO_ALLOWED_HOSTS": "example.org,127.0.0.1",
    "REALTIME_TRUSTED_PROXIES": "1",
}
#: As a link to a new password carries it.
RESET_TOKEN = "d1zxg7-0123456789abcdef0123456789abcdef"


@pytest.fixture
def production() -> Iterator[ServerProcess]:
    command = (*ServerProcess.DAPHNE[:-1], "--proxy-headers", ServerProcess.DAPHNE[-1])
    with ServerProcess(command, env=ENVIRONMENT) as server:
        yield server


def get(port: int, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_monitors_are_not_public_through_nginx(production: ServerProcess, make_nginx) -> None:
    nginx = make_nginx([production.port, production.port])
    nginx.start()
    for path in ("/metrics", "/readyz"):
        assert get(nginx.port, path, Host="example.org")[0] == 404
        assert get(production.port, path)[0] == 200
    assert get(nginx.port, "/healthz", Host="example.org")[0] == 200


def test_monitors_are_not_public_behind_another_proxy() -> None:
    with ServerProcess(env={**ENVIRONMENT, "REALTIME_PUBLIC_MONITORS": "0"}) as server:
        forwarded = {"Host": "example.org", "X_Forwarded_For": "203.0.113.7", "X_Forwarded_Proto": "https"}
        for path in ("/metrics", "/readyz"):
            assert get(server.port, path, **forwarded)[0] == 404
            assert get(server.port, path, Host="10.1.2.3:8000")[0] == 200
        assert get(server.port, "/healthz", **forwarded)[0] == 200


def test_monitors_ask_by_address_and_without_tls(production: ServerProcess) -> None:
    status, _, body = get(production.port, "/readyz", Host="10.1.2.3:8000")
    assert (status, json.loads(body)["ready"]) == (200, True)
    assert get(production.port, "/", Host="10.1.2.3:8000")[0] == 400


def test_production_sends_its_security_headers(production: ServerProcess) -> None:
    status, headers, _ = get(production.port, "/", Host="example.org", X_Forwarded_Proto="https")
    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Strict-Transport-Security"] == "max-age=3600"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    _, headers, _ = get(production.port, "/login/", Host="example.org", X_Forwarded_Proto="https")
    assert "Secure" in headers["Set-Cookie"]


def test_plain_http_is_sent_to_tls(production: ServerProcess) -> None:
    status, headers, _ = get(production.port, "/", Host="example.org")
    assert (status, headers["Location"]) == (301, "https://example.org/")


async def test_the_access_log_of_nginx_has_no_query_and_no_link_to_a_new_password(
    production: ServerProcess, make_nginx
) -> None:
    nginx = make_nginx([production.port, production.port])
    nginx.start()
    async with connect(nginx.ws("/ws?ticket=s3cr3t-in-the-query")) as client:
        await client.send("hello")
        assert await client.recv() == "hello"
    get(nginx.port, f"/password/reset/MQ/{RESET_TOKEN}/", Host="example.org")
    nginx.stop()
    assert '"GET /password/reset/MQ/[removed] HTTP/1.1" 301' in nginx.log("access")
    assert RESET_TOKEN not in nginx.log("access") + nginx.log("error")
    assert '"GET /ws HTTP/1.1" 101' in nginx.log("access")
    assert "s3cr3t" not in nginx.log("access") + nginx.log("error")


async def test_a_reload_of_nginx_drops_no_socket(production: ServerProcess, make_nginx) -> None:
    nginx = make_nginx([production.port, production.port])
    nginx.start()
    async with connect(nginx.ws("/ws")) as old:
        before = nginx.workers()
        nginx.reload()
        while nginx.workers() <= before:  # the new workers are there; the test's own time limit ends this
            pass
        async with connect(nginx.ws("/ws")) as new:
            for client in (old, new):
                await client.send("still here")
                assert await client.recv() == "still here"


@pytest.mark.parametrize(
    ("environment", "header"),
    [
        ({"DJANGO_SECURE_HSTS_SECONDS": "31536000"}, "max-age=31536000"),
        ({"DJANGO_SECURE_HSTS_INCLUDE_SUBDOMAINS": "1"}, "max-age=3600; includeSubDomains"),
        ({"DJANGO_SECURE_HSTS_PRELOAD": "1"}, "max-age=3600; preload"),
        ({"DJANGO_SECURE_HSTS_SECONDS": "0"}, None),
    ],
)
def test_how_long_and_for_whom_browsers_insist_on_tls_is_switchable(environment, header) -> None:
    with ServerProcess(env={**ENVIRONMENT, **environment}) as server:
        _, headers, _ = get(server.port, "/login/", Host="example.org", X_Forwarded_Proto="https")
    assert headers["Strict-Transport-Security"] == header
