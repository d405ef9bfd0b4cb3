"""The project, and a ``/ws/block`` that blocks the threads of Channels and of asyncio until a file is there."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from channels.db import database_sync_to_async

from project.asgi import application as project

RELEASE = Path(os.environ["TEST_RELEASE"])


def block() -> None:
    while not RELEASE.exists():
        time.sleep(0.02)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "websocket" or scope["path"] != "/ws/block":
        await project(scope, receive, send)
        return
    await receive()
    blocked = [asyncio.ensure_future(database_sync_to_async(block)()) for _ in range(2)]
    blocked += [asyncio.ensure_future(asyncio.to_thread(block)) for _ in range(64)]
    await asyncio.sleep(0)
    await send({"type": "websocket.accept"})
    await asyncio.wait(blocked)
    await send({"type": "websocket.close"})
