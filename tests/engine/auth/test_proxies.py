"""The address of a client behind a reverse proxy, whatever the server's command line says."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections import Counter

import pytest
import websockets
from websockets.exceptions import InvalidStatus

from realtime.engine.testing import ServerProcess, credentials

UVICORN = (
    sys.executable,
    "-m",
    "uvicorn",
    "--port",
    "{port}",
    "--no-proxy-headers",
    "--ws",
    "realtime.engine.server.uvicorn:WebSocketProtocol",
    "--lifespan",
    "off",
    "project.asgi:application",
)

WITH_OPTION = (*ServerProcess.DAPHNE[:-1], "--proxy-headers", ServerProcess.DAPHNE[-1])

SERVERS = {"daphne": ServerProcess.DAPHNE, "daphne --proxy-headers": WITH_OPTION, "uvicorn": UVICORN}

LIMITS = {
    "REALTIME_TRUSTED_PROXIES": "1",
    "REALTIME_AUTH_FAILURES_PER_MINUTE": "3",
    "REALTIME_CONNECTIONS_PER_ADDRESS": "2",
    "REALTIME_ACCESS_LOG": "1",
}


async def handshake(server: ServerProcess, path: str, forwarded: str) -> int:
    try:
        async with websockets.connect(server.ws(path), additional_headers={"X-Forwarded-For": forwarded}):
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code


def log_in(server: ServerProcess, name: str, forwarded: str) -> int:
    body = json.dumps(credentials(name, "wrong")).encode()
    headers = {"Content-Type": "application/json", "X-Forwarded-For": forwarded}
    request = urllib.request.Request(server.http("/api/token/"), body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("name", SERVERS)
async def test_clients_behind_a_trusted_proxy_are_counted_one_by_one(name: str) -> None:
    with ServerProcess(SERVERS[name], env=LIMITS) as server:
        bad = "/ws/auth?ticket=forged"
        # What a client sends itself stands further left, and counts for nothing.
        answers = Counter([await handshake(server, bad, f"203.0.113.{n}, 198.51.100.1") for n in range(6)])
        assert answers == {401: 3, 429: 3}
        assert await handshake(server, bad, "198.51.100.2") == 401
        assert log_in(server, "nobody", "198.51.100.1") == 429
        assert log_in(server, "nobody", "198.51.100.3") == 401


async def test_the_access_log_names_the_client_and_not_the_proxy() -> None:
    with ServerProcess(env=LIMITS) as server:
        log_in(server, "nobody", "203.0.113.9, 198.51.100.7")
        assert "client=198.51.100.7" in server.log
        assert "203.0.113.9" not in server.log


async def test_a_forwarded_address_is_not_believed_without_a_trusted_proxy() -> None:
    with ServerProcess(env={**LIMITS, "REALTIME_TRUSTED_PROXIES": "0"}) as server:
        bad = "/ws/auth?ticket=forged"
        assert [await handshake(server, bad, f"198.51.100.{n}") for n in range(4)] == [401, 401, 401, 429]


def test_proxy_headers_without_trusted_proxies_are_reported_at_the_start() -> None:
    complaint = "--proxy-headers is given and REALTIME_TRUSTED_PROXIES is 0"
    for proxies, reported in (("0", True), ("1", False)):
        with ServerProcess(WITH_OPTION, env={"REALTIME_TRUSTED_PROXIES": proxies}) as server:
            assert (complaint in server.log) == reported
