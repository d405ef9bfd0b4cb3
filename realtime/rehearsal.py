"""A handshake over HTTP: what would the server answer, and why.

A browser hides the status and the body of a refused WebSocket handshake from the page. ``POST /api/handshake/`` runs
the same routes and consumers with the same cookies and origin, and tells in JSON what a handshake would be
answered. A connection that would be accepted ends at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from realtime.application import SocketRouter
from realtime.close import CloseCode
from realtime.messages import SharedMessage
from realtime.problems import CONTENT_TYPE, problem_body
from realtime.routing import websocket_urlpatterns

__all__ = ["Outcome", "handshake", "rehearse"]

logger = logging.getLogger("realtime.handshake")

#: Seconds that an application may take to decide.
TIMEOUT = 10

#: Bytes of a request; an address is at most a few thousand.
MAX_BODY = 16 * 1024

#: Headers of the POST that a handshake would not have.
_OF_THE_BODY = (b"content-type", b"content-length", b"transfer-encoding", b"sec-websocket-protocol")

_ACCEPTED = 101

_sockets = SocketRouter(websocket_urlpatterns)


class Question(msgspec.Struct):
    """What a page asks: the address, from its path on, and the subprotocols that it offers."""

    address: str
    protocols: list[str] = []


@dataclass(slots=True)
class Outcome:
    """The answer to a handshake.

    Args:
        status: 101, or the status of the refusal.
        subprotocol: what was selected; None for none.
        problem: the body of a refusal (RFC 9457), else None.
    """

    status: int
    subprotocol: str | None = None
    problem: dict[str, Any] | None = None


@require_POST
async def handshake(request: HttpRequest) -> HttpResponse:
    """Answer with ``{"status", "subprotocol", "problem"}``."""
    try:
        question = msgspec.json.decode(request.body[:MAX_BODY], type=Question)
        scope = _scope(request, question)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return HttpResponse(problem_body(400, str(error)), status=400, content_type=CONTENT_TYPE)
    try:
        outcome = await rehearse(scope)
    except TimeoutError:
        outcome = Outcome(503, problem=json.loads(problem_body(503, "The endpoint took too long to decide.")))
    answer = {"status": outcome.status, "subprotocol": outcome.subprotocol, "problem": outcome.problem}
    return JsonResponse(answer, headers={"Cache-Control": "no-store"})


async def rehearse(scope: dict[str, Any], application: Any = _sockets) -> Outcome:
    """Return what ``application`` answers to the handshake in ``scope``.

    Args:
        scope: an ASGI scope of a websocket.
        application: an ASGI application for websockets.

    Raises:
        TimeoutError: if it has not decided within ``TIMEOUT`` seconds.
    """
    decided: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    events = iter([{"type": "websocket.connect"}])
    denial = Outcome(403)

    async def receive() -> dict[str, Any]:
        event = next(events, None)
        if event is not None:
            return event
        await asyncio.wait([decided])
        return {"type": "websocket.disconnect", "code": int(CloseCode.GOING_AWAY), "reason": ""}

    async def send(event: dict[str, Any]) -> None:
        if decided.done():
            return
        kind = event["type"]
        if kind == "websocket.accept":
            decided.set_result(Outcome(_ACCEPTED, event.get("subprotocol")))
        elif kind == "websocket.close":
            decided.set_result(Outcome(403, problem=json.loads(problem_body(403, event.get("reason") or ""))))
        elif kind == "websocket.http.response.start":
            denial.status = event["status"]
        elif kind == "websocket.http.response.body":
            denial.problem = _as_json(event.get("body", b""))
            decided.set_result(denial)

    async with asyncio.timeout(TIMEOUT):
        try:
            await application(scope, receive, send)
        except Exception:
            logger.exception("The application failed")
    return decided.result() if decided.done() else Outcome(500)


def _scope(request: HttpRequest, question: Question) -> dict[str, Any]:
    """Return the scope of the handshake that this browser would have sent instead of the POST.

    Raises:
        ValueError: if the address is none of this site.
    """
    assert isinstance(request, ASGIRequest)
    parts = urlsplit(question.address)
    if parts.scheme or parts.netloc or not parts.path.startswith("/"):
        raise ValueError("address: takes a path of this site, for instance '/ws/connect?user_id=7'.")
    http = request.scope
    headers = [(name, value) for name, value in http["headers"] if name not in _OF_THE_BODY]
    if question.protocols:
        headers.append((b"sec-websocket-protocol", ", ".join(question.protocols).encode("latin-1", "replace")))
    return {
        "type": "websocket",
        "asgi": http.get("asgi", {"version": "3.0"}),
        "http_version": "1.1",
        "scheme": "wss" if request.is_secure() else "ws",
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": http.get("root_path", ""),
        "headers": headers,
        "subprotocols": question.protocols,
        "client": http.get("client"),
        "server": http.get("server"),
        "state": {},
        "extensions": {
            "websocket.http.response": {},
            "websocket.policy": {"version": "1", "send_nowait": _ignore},
        },
    }


def _ignore(message: SharedMessage) -> None:
    """There is nobody to send it to."""


def _as_json(body: bytes) -> dict[str, Any] | None:
    try:
        return dict(json.loads(body))
    except ValueError:
        return None
