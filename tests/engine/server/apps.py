"""ASGI applications for the tests of the wire; ``daphne tests.engine.server.apps:application`` serves them.

The path names the application, and ``?policy=`` is the JSON of the policy that it accepts with. ``/journal?wait=N``
answers with what the applications have seen, as soon as there are N entries.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import os
import pickle
import sys
from collections import deque
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

import django
from django.conf import settings

django.setup()

import realtime.engine.protocol.timeouts as timeouts  # noqa: E402
import realtime.engine.server.daphne.http_channel as http_channel  # noqa: E402
from realtime.engine.protocol.errors import RealtimeError  # noqa: E402
from realtime.engine.protocol.messages import SharedMessage  # noqa: E402
from realtime.engine.server.daphne.factory import WireHTTPFactory  # noqa: E402
from realtime.engine.server.drain import DRAIN, is_draining  # noqa: E402

#: A test of the deadline does not wait for ten seconds.
http_channel.HEAD_TIMEOUT = float(os.environ.get("WIRE_TEST_HEAD_TIMEOUT", "10"))

#: What the applications have seen; bounded, for the soak tests make very many connections.
JOURNAL: deque[Any] = deque(maxlen=1000)
NEWS = asyncio.Condition()
#: send_nowait of every connection of /fanout.
MEMBERS: list[Any] = []


async def note(entry: Any) -> None:
    JOURNAL.append(entry)
    async with NEWS:
        NEWS.notify_all()


def query(scope: dict[str, Any]) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}


async def accept(scope: dict[str, Any], receive: Any, send: Any, **fields: Any) -> None:
    event = await receive()
    assert event == {"type": "websocket.connect"}, event
    policy = query(scope).get("policy")
    if policy is not None:
        fields["policy"] = json.loads(policy)
    await send({"type": "websocket.accept", **fields})


async def echo(scope, receive, send):
    subprotocol = scope["subprotocols"][0] if scope["subprotocols"] else None
    await accept(scope, receive, send, subprotocol=subprotocol, headers=[(b"x-test", b"1"), (b"x-test", b"2")])
    while (event := await receive())["type"] != "websocket.disconnect":
        if event["type"] == "websocket.receive":
            await send({**event, "type": "websocket.send"})
        else:
            await note(event["type"])
    await note(event)
    await send({"type": "websocket.send", "text": "too late"})
    await send({"type": "websocket.close"})


async def describe(scope, receive, send):
    await accept(scope, receive, send)
    shown = {name: value for name, value in scope.items() if name not in ("extensions", "state")}
    shown["extensions"] = sorted(scope["extensions"])
    await send({"type": "websocket.send", "text": json.dumps(shown, default=lambda value: value.decode("latin-1"))})
    await receive()


async def crash(scope, receive, send):
    await accept(scope, receive, send)
    raise RuntimeError("a deliberate crash after the accept")


async def crash_before(scope, receive, send):
    raise RuntimeError("a deliberate crash before the accept")


async def give_up(scope, receive, send):
    await accept(scope, receive, send)


async def give_up_before(scope, receive, send):
    await receive()


async def silent(scope, receive, send):
    await receive()
    await note(await receive())


async def close(scope, receive, send):
    await accept(scope, receive, send)
    values = query(scope)
    await send({"type": "websocket.close", "code": int(values["code"]), "reason": values.get("reason", "")})
    await note(await receive())


async def refuse(scope, receive, send):
    await receive()
    await send({"type": "websocket.close"})


async def deny(scope, receive, send):
    await receive()
    headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b"Bearer")]
    await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"not ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"you"})


async def illegal(scope, receive, send):
    await receive()
    try:
        await send({"type": "websocket.send", "text": "before the accept"})
    except RealtimeError as error:
        await note(str(error))
    await send({"type": "websocket.accept"})
    try:
        await send({"type": "websocket.accept"})
    except RealtimeError as error:
        await note(str(error))


async def stuck(scope, receive, send):
    """Accept and never receive, until ``/release``."""
    await accept(scope, receive, send)
    await RELEASE.wait()
    while (event := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": f"{len(event.get('text') or event.get('bytes'))}"})
    await note(event)


RELEASE = asyncio.Event()


async def busy(scope, receive, send):
    """Take one message and do not come back for the next one until ``/release``."""
    await accept(scope, receive, send)
    await receive()
    await send({"type": "websocket.send", "text": "busy"})
    await RELEASE.wait()
    await send({"type": "websocket.send", "text": "done"})
    await receive()


async def talker(scope, receive, send):
    """Send for ever; the journal learns how often ``send`` had returned when the peer was gone."""
    await accept(scope, receive, send)
    count = 0

    async def talk():
        nonlocal count
        while True:
            await send({"type": "websocket.send", "bytes": bytes(64 * 1024)})
            count += 1

    talking = asyncio.create_task(talk())
    await receive()
    talking.cancel()
    await note(count)


async def pinger(scope, receive, send):
    await accept(scope, receive, send)
    await send({"type": "websocket.ping", "bytes": b"how are you"})
    event = await receive()
    await note([event["type"], event["bytes"].decode(), event["latency"] >= 0])
    await send({"type": "websocket.close"})


async def fanout(scope, receive, send):
    await accept(scope, receive, send)
    send_nowait = scope["extensions"]["websocket.policy"]["send_nowait"]
    MEMBERS.append(send_nowait)
    await send({"type": "websocket.send", "text": "joined"})
    while (event := await receive())["type"] != "websocket.disconnect":
        shared = SharedMessage(text=event.get("text"), data=event.get("bytes"))
        for member in MEMBERS:
            member(shared)
    MEMBERS.remove(send_nowait)
    await note(event)


async def copied(scope, receive, send):
    """Serve by a copy of the scope, as middleware may make one, and send what is left of a pickled one."""
    pickled = pickle.loads(pickle.dumps(scope))
    scope = copy.deepcopy(scope)
    await accept(scope, receive, send)
    scope["extensions"]["websocket.policy"]["count_as"]("copied")
    scope["extensions"]["websocket.policy"]["send_nowait"](SharedMessage(text=json.dumps(pickled["extensions"])))
    await receive()


async def heedless(scope, receive, send):
    """Ignore the disconnect."""
    await accept(scope, receive, send)
    try:
        while True:
            await note((await receive())["type"])
    finally:
        await note("cancelled")


async def stubborn(scope, receive, send):
    """Do not return after the disconnect."""
    await accept(scope, receive, send)
    while (await receive())["type"] != "websocket.disconnect":
        pass
    try:
        await asyncio.Event().wait()
    finally:
        await note("cancelled")


async def slow_end(scope, receive, send):
    await accept(scope, receive, send)
    event = await receive()
    await asyncio.sleep(0.2)
    sys.stdout.write(f"ended {event['code']}\n")
    sys.stdout.flush()


APPLICATIONS = {
    f"/{application.__name__}": application
    for application in (
        echo, describe, crash, crash_before, give_up, give_up_before, silent, close, refuse, deny, illegal, stuck,
        busy, talker, pinger, fanout, copied, heedless, stubborn, slow_end,
    )
}  # fmt: skip


def statistics() -> dict[str, Any]:
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return {
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "tasks": len(asyncio.all_tasks()),
        "sessions": len(DRAIN.connections),
        "memory": int(status.partition("VmRSS:")[2].split()[0]) * 1024,
        "draining": is_draining(),
    }


async def http(scope, receive, send):
    body = b""
    while (event := await receive()).get("more_body"):
        body += event["body"]
    answer: Any = {"method": scope["method"], "body": len(body + event["body"]), "root_path": scope["root_path"]}
    if scope["path"] == "/journal":
        wanted = int(query(scope).get("wait", 0))
        async with NEWS:
            await NEWS.wait_for(lambda: len(JOURNAL) >= wanted)
        answer = list(JOURNAL)
        JOURNAL.clear()
    elif scope["path"] == "/statistics":
        answer = statistics()
    elif scope["path"] == "/release":
        RELEASE.set()
        asyncio.get_running_loop().call_soon(RELEASE.clear)
    elif scope["path"] == "/linger":
        timeouts.LINGER_SECONDS = float(query(scope)["seconds"])
    elif scope["path"] == "/proxies":
        WireHTTPFactory.trusted_proxies = int(query(scope)["trusted"])
    elif scope["path"] == "/half":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("a deliberate crash in the middle of a response")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


async def application(scope, receive, send):
    if scope["type"] == "http":
        await http(scope, receive, send)
    elif scope["type"] == "websocket":
        path = scope["path"].removeprefix(scope["root_path"])
        await APPLICATIONS[path](scope, receive, send)


def get_application() -> Any:
    return application


def test_database() -> str:
    """Return the name of the test database as a process of its own sees it."""
    return str(settings.DATABASES["default"]["TEST"]["NAME"])
