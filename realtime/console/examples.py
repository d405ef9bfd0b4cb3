"""What a console offers to try on an endpoint, made from its policy, its query and its messages.

Each preset makes one limit act: seeing a policy at work is how one learns it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from realtime.engine import MIB
from realtime.engine.describe.endpoints import Endpoint
from realtime.engine.describe.schemas import describe_messages

__all__ = ["presets_for"]

#: A page does not send more than this to see a limit at work.
MAX_TRIED_SIZE = 16 * MIB

#: Messages of a burst in addition to what the policy allows within its first two seconds.
EXTRA_MESSAGES = 20


def presets_for(endpoint: Endpoint) -> list[dict[str, Any]]:
    """Return the presets of ``endpoint`` for static/realtime/console.js.

    Each has a ``label`` and either ``connect`` (``address``, ``protocols``, ``ticket``: what to change in the
    handshake) or ``send`` (``text``, ``hex`` or ``size`` in bytes, and ``times``).
    """
    return [*_messages(endpoint), *_handshakes(endpoint), *_limits(endpoint)]


def _messages(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    if endpoint.client_messages is None:
        yield _send("Empty message", text="")
        return
    for message in describe_messages(endpoint.client_messages):
        yield _send(message.tag, text=json.dumps(message.example, ensure_ascii=False))
    yield _send("Unknown type", text='{"type": "Unknown"}')
    yield _send("Not JSON", text="hello")
    yield _send("Binary", hex="00 ff")


def _handshakes(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    for item in endpoint.query:
        if item.required:
            yield _connect(f"Without {item.name}", address=_address(endpoint, without=item.name))
        if item.schema.get("type") == "integer":
            yield _connect(f"{item.name} is no number", address=_address(endpoint, wrong=item.name))
    if endpoint.policy.subprotocols:
        yield _connect("Subprotocols in another order", protocols=list(reversed(endpoint.policy.subprotocols)))
        yield _connect("Unknown subprotocol", protocols=["unknown"])
    if endpoint.authentication == "required":
        yield _connect("Without a token", ticket=False)
        yield _connect("With a forged ticket", address=f"{endpoint.example}?ticket=forged")


def _limits(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    policy = endpoint.policy
    limit = policy.max_message_size
    if limit is not None and limit <= MAX_TRIED_SIZE:
        # Browsers cut a large message into frames of their own choice, so that a page cannot try max_frame_size.
        yield _send("Largest message", size=limit)
        yield _send("One byte too large", size=limit + 1)
    if policy.max_messages_per_second is not None:
        count = math.ceil(policy.max_messages_per_second) * 2 + EXTRA_MESSAGES
        yield _send(f"{count} messages at once", text="burst", times=count)


def _address(endpoint: Endpoint, *, without: str = "", wrong: str = "") -> str:
    values = {item.name: item.example for item in endpoint.query if item.name != without}
    if wrong:
        values[wrong] = "seven"
    query = "&".join(f"{name}={value}" for name, value in values.items())
    return f"{endpoint.example.partition('?')[0]}?{query}"


def _send(label: str, **message: Any) -> dict[str, Any]:
    return {"label": label, "send": message}


def _connect(label: str, **changes: Any) -> dict[str, Any]:
    return {"label": label, "connect": changes}
