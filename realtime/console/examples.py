"""What a console knows of its endpoint and offers to try on it, made from its policy, its query and its messages.

Each preset makes one limit act: seeing a policy at work is how one learns it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _

from realtime.engine import MIB
from realtime.engine.describe.endpoints import Endpoint

#: A page does not send more than this to see a limit at work.
MAX_TRIED_SIZE = 16 * MIB

#: Messages of a burst in addition to what the policy allows within its first two seconds.
EXTRA_MESSAGES = 20


def console_data(endpoint: Endpoint) -> dict[str, Any]:
    """Return what static/console/console.js is given of ``endpoint``.

    Each of its ``presets`` has a ``label`` and either ``connect`` (``address``, ``protocols``, ``ticket``: what to
    change in the handshake) or ``send`` (``text``, ``hex`` or ``size`` in bytes, and ``times``).
    """
    policy = endpoint.policy
    return {
        "path": endpoint.path,
        "example": endpoint.example,
        "authentication": endpoint.authentication,
        "needs": list(_needs(endpoint)),
        "subprotocols": policy.subprotocols or (["my-protocol"] if policy.accept_any_subprotocol else []),
        "message": endpoint.received[0].text if endpoint.received else "hello",
        "presets": [*_messages(endpoint), *_handshakes(endpoint), *_limits(endpoint)],
    }


def _needs(endpoint: Endpoint) -> Iterator[str]:
    """Yield what a handshake is refused without, as far as the endpoint's class states it."""
    if endpoint.authentication == "required":
        yield _("a user: a token, a ticket or a session (401)")
    parameters = [f"{item.name} ({item.schema.get('type', 'text')})" for item in endpoint.query if item.required]
    if parameters:
        yield _("the query parameters %(names)s (400)") % {"names": ", ".join(parameters)}
    if endpoint.policy.subprotocols:
        names = ", ".join(endpoint.policy.subprotocols)
        yield _("in a browser that offers any subprotocol, one of %(names)s") % {"names": names}


def _messages(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    if not endpoint.received:
        yield _send(_("Empty message"), text="")
        return
    for message in endpoint.received:
        yield _send(message.tag, text=message.text)
    yield _send(_("Unknown type"), text='{"type": "Unknown"}')
    yield _send(_("Not JSON"), text="hello")
    yield _send(_("Binary"), hex="00 ff")


def _handshakes(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    for item in endpoint.query:
        if item.required:
            yield _connect(_("Without %(name)s") % {"name": item.name}, address=_address(endpoint, without=item.name))
        if item.schema.get("type") == "integer":
            yield _connect(
                _("%(name)s is no number") % {"name": item.name}, address=_address(endpoint, wrong=item.name)
            )
    if endpoint.policy.subprotocols:
        yield _connect(_("Subprotocols in another order"), protocols=list(reversed(endpoint.policy.subprotocols)))
        yield _connect(_("Unknown subprotocol"), protocols=["unknown"])
    if endpoint.authentication == "required":
        yield _connect(_("Without a token"), ticket=False)
        yield _connect(_("With a forged ticket"), address=f"{endpoint.example}?ticket=forged")


def _limits(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    policy = endpoint.policy
    limit = policy.max_message_size
    if limit is not None and limit <= MAX_TRIED_SIZE:
        # Browsers cut a large message into frames of their own choice, so that a page cannot try max_frame_size.
        yield _send(_("Largest message"), size=limit)
        yield _send(_("One byte too large"), size=limit + 1)
    if policy.max_messages_per_second is not None:
        count = math.ceil(policy.max_messages_per_second) * 2 + EXTRA_MESSAGES
        yield _send(_("%(count)s messages at once") % {"count": count}, text="burst", times=count)


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
