"""Performs the steps of the conformance script, one for each line of its input, with the client in Python."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import sys
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec

FOLDER, BASE, TOKEN = sys.argv[1:]

#: The package of the generated client stands in this folder.
sys.path.insert(0, str(Path(FOLDER).parent))
PACKAGE = Path(FOLDER).name

clients: dict[str, Any] = {}
boxes: defaultdict[tuple[str, ...], asyncio.Queue[Any]] = defaultdict(asyncio.Queue)


def fetch_ticket() -> str:
    request = urllib.request.Request(f"{BASE}/api/ws-ticket/", b"", {"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request) as response:
        return json.load(response)["ticket"]


async def ticket() -> str:
    return await asyncio.to_thread(fetch_ticket)


class Client:
    def __init__(self, step: dict[str, Any]) -> None:
        self.module = importlib.import_module(f"{PACKAGE}.{step['module']}")
        self.box = lambda *name: boxes[(step["client"], *name)]
        self.renewals: list[bool] = []
        [kind] = [value for name, value in vars(self.module).items() if name.endswith("Socket")]
        credentials = {
            "token": {"token": self.getter(lambda: TOKEN)},
            "ticket": {"ticket": self.getter(ticket)},
            "wrong": {"token": self.getter(lambda: "wrong")},
        }
        self.socket = kind(
            BASE,
            params=step.get("params"),
            random=lambda: 0.02,
            on_state=self.box("state").put_nowait,
            **credentials.get(step.get("credential"), {}),
        )
        for name in ("News", "Error", "Joined", "Left"):
            if hasattr(self.module, name):
                self.socket.on(getattr(self.module, name), self.box(name).put_nowait)
        error = getattr(self.module, "MessageError", None)
        if error is not None:
            self.socket.on(error, self.box("Error").put_nowait)

    def getter(self, value: Any) -> Any:
        def get(renew: bool) -> Any:
            self.renewals.append(renew)
            return value()

        return get

    def message(self, fields: dict[str, Any]) -> Any:
        kinds = {kind.__struct_config__.tag: kind for kind in self.socket.description.replies}
        return msgspec.convert(fields, kinds[fields["type"]])

    async def until(self, *phases: str) -> Any:
        while True:
            state = await self.box("state").get()
            if state.phase in phases:
                return state


async def open_client(step: dict[str, Any]) -> Any:
    client = clients[step["client"]] = Client(step)
    with contextlib.suppress(client.module.HandshakeRefused):
        await client.socket.__aenter__()
    return await client.until("open", "stopped")


async def request(step: dict[str, Any]) -> Any:
    client = clients[step["client"]]
    try:
        answer = await client.socket.request(client.message(step["message"]), timeout=step.get("timeout"))
    except client.module.RequestRefused as refusal:
        return {"refused": {"code": refusal.code, "detail": refusal.detail}}
    except client.module.RequestTimeout:
        return {"timeout": True}
    except client.module.ConnectionLost:
        return {"lost": True}
    return {"answer": answer}


async def ask(step: dict[str, Any]) -> Any:
    clients[step["client"]].asked = asyncio.create_task(request(step))
    return {}


async def send(step: dict[str, Any]) -> Any:
    client = clients[step["client"]]
    try:
        await client.socket.send(client.message(step["message"]))
    except client.module.ConnectionLost:
        return {"sent": False}
    return {"sent": True}


async def subscribe(step: dict[str, Any]) -> Any:
    client, topic = clients[step["client"]], step["topic"]
    put = client.box(topic).put_nowait
    await client.socket.subscribe(
        topic,
        lambda message: put({"message": message}),
        on_joined=lambda joined: put({"joined": joined}),
        on_left=lambda error: put({"left": error}),
    )
    return await client.box(topic).get()


async def unsubscribe(step: dict[str, Any]) -> Any:
    client = clients[step["client"]]
    await client.socket.unsubscribe(step["topic"])
    return await client.box(step["topic"]).get()


async def messages(step: dict[str, Any]) -> Any:
    box = clients[step["client"]].box(step["topic"])
    return [(await box.get())["message"].content for _ in range(step["count"])]


async def perform(step: dict[str, Any]) -> Any:
    client = clients.get(step["client"])
    match step["do"]:
        case "open":
            return await open_client(step)
        case "request":
            return await request(step)
        case "ask":
            return await ask(step)
        case "asked":
            return await client.asked
        case "send":
            return await send(step)
        case "event":
            return await client.box(step["type"]).get()
        case "state":
            return await client.until(step["phase"])
        case "renewals":
            return client.renewals
        case "stop":
            await client.socket.stop()
            return await client.until("stopped")
        case "subscribe":
            return await subscribe(step)
        case "unsubscribe":
            return await unsubscribe(step)
        case "joined":
            return (await client.box(step["topic"]).get())["joined"]
        case "messages":
            return await messages(step)
    raise ValueError(step["do"])


def as_json(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    raise NotImplementedError


async def main() -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        result = await perform(json.loads(line))
        sys.stdout.write(msgspec.json.encode(result, enc_hook=as_json).decode() + "\n")
        sys.stdout.flush()
    for client in clients.values():
        await client.socket.stop()


asyncio.run(main())
assert not {"django", "channels", "realtime"} & sys.modules.keys(), "the client needs the server's project"
