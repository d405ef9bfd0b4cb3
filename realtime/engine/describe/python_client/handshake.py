"""The handshake of a client: its address, its credentials, and what a refusal means."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urljoin

import msgspec
from websockets.exceptions import InvalidStatus

from .description import HandshakeRefused

#: Gets a credential; the argument says whether the last one was refused or has expired.
Getter = Callable[[bool], str | Awaitable[str]]


def problem_of(error: InvalidStatus) -> HandshakeRefused:
    """Return the answer of the server as an exception."""
    try:
        body = msgspec.json.decode(error.response.body or b"", type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError):
        body = {}
    return HandshakeRefused(error.response.status_code, str(body.get("detail", "no detail")))


def advice_on(status: int, renew: bool) -> str:
    """Return what to do after a refusal with this status; ``renew`` says whether the credential was a new one."""
    if status == 401 and not renew:
        return "renew"
    return "reconnect" if status == 429 or status >= 500 else "stop"


async def ask(getter: Getter, renew: bool) -> str:
    """Return what a getter gets, also asynchronously."""
    value = getter(renew)
    return await value if inspect.isawaitable(value) else value


def address_of(paths: tuple[str, ...], base: str, params: Mapping[str, str], query: Mapping[str, Any]) -> str:
    """Return the address of the path that has exactly these parameters; raises ``TypeError`` without one."""
    path = next((path for path in paths if set(re.findall(r"{(\w+)}", path)) == set(params)), None)
    if path is None:
        raise TypeError(f"no address has the parameters {sorted(params)}: {', '.join(paths)}")
    path = re.sub(r"{(\w+)}", lambda found: quote(params[found[1]], safe=""), path)
    url = re.sub(r"^http", "ws", urljoin(base, path))
    return f"{url}?{urlencode(query)}" if query else url
