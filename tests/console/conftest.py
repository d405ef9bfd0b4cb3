"""Clients of ``/ws/admin/live``."""

from __future__ import annotations

import json
from urllib.request import Request, urlopen

import pytest

from realtime.engine.testing import credentials


@pytest.fixture
def token_of(server, password):
    """Gets an access token for a demo user."""

    def get(user: str) -> str:
        body = json.dumps(credentials(user, password)).encode()
        request = Request(server.http("/api/token/"), body, {"Content-Type": "application/json"})
        with urlopen(request) as response:
            return json.load(response)["access"]

    return get


@pytest.fixture
async def monitor(socket, token_of):
    return await socket("/ws/admin/live", token=token_of("admin"))
