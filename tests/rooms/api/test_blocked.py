"""An application that blocks the threads that all share holds up no handshake, ticket, token or monitor."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.asyncio.client import connect

from realtime.engine.testing import ServerProcess, login_name

HANDSHAKES = 20
COMMAND = (*ServerProcess.DAPHNE[:-1], "tests.rooms.api.blocking:application")


@pytest.fixture
def server(database_urls: Callable[[str], str], tmp_path: Path) -> Iterator[ServerProcess]:
    environment = {
        "DATABASE_URL": database_urls("sqlite"),
        "TEST_RELEASE": str(tmp_path / "release"),
        # From this machine nothing counts but this.
        "REALTIME_AUTH_FAILURES_PER_MINUTE": "1000",
    }
    with ServerProcess(COMMAND, env=environment) as process:
        yield process
        (tmp_path / "release").touch()


async def test_blocked_threads_of_an_application_hold_up_nothing_else(
    server: ServerProcess, new_api: Any, password: str, tmp_path: Path
) -> None:
    async with connect(server.ws("/ws/block")) as blocking:
        admin = await asyncio.to_thread(new_api(server).log_in, "admin", password)

        async def open_with(path: str, headers: dict[str, str]) -> None:
            async with connect(server.ws(path), additional_headers=headers):
                pass

        async def open_with_ticket() -> None:
            answer = await asyncio.to_thread(admin.request, "POST", "/api/ws-ticket/")
            await open_with(f"/ws/auth?ticket={json.loads(answer.body)['ticket']}", {})

        session = await asyncio.to_thread(_session_of_admin, new_api(server), password)
        from_page = {"Cookie": session, "Origin": server.http("")}
        for _ in range(HANDSHAKES):
            await open_with("/ws/auth", admin.headers)
            await open_with("/ws/auth", from_page)
            await open_with_ticket()
            await open_with("/ws/rooms", {})
        async with connect(server.ws("/ws/admin/live"), additional_headers=admin.headers) as monitor:
            assert json.loads(await monitor.recv())["type"] == "Overview"
        # All this time it was blocked: it ends now.
        (tmp_path / "release").touch()
        with pytest.raises(Exception, match="1000"):
            await blocking.recv()


def _session_of_admin(anonymous: Any, password: str) -> str:
    fields = urlencode({"username": login_name("admin"), "password": password}).encode()
    answer = anonymous.request("POST", "/login/", fields, Content_Type="application/x-www-form-urlencoded")
    assert answer.status == 302, answer
    found = re.search(r"sessionid=\w+", answer.headers["set-cookie"])
    assert found is not None
    return found[0]
