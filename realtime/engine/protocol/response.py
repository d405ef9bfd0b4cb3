"""The answer to one handshake: the upgrade, the application's own response, or a problem."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from realtime.engine.policy import Limits
from realtime.engine.protocol.deflate import Deflate, negotiate
from realtime.engine.protocol.http import Headers, Request, problem_answer, response_head, upgrade_answer

__all__ = ["Answer"]


class Answer:
    """Makes the bytes of the answer from the application's events.

    Args:
        request: a request whose upgrade headers have been checked.
        headers: headers of every answer, such as ``Server``.

    Attributes:
        status: of the response that the application has started, None before.
        has_begun: whether a part of that response has been made, so that no other answer is possible.
    """

    __slots__ = ("_fields", "_headers", "_request", "has_begun", "status")

    def __init__(self, request: Request, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        self._request = request
        self._headers = headers
        self._fields: Headers = []
        self.status: int | None = None
        self.has_begun = False

    def upgrade(self, event: dict[str, Any], defaults: Limits) -> tuple[bytes, Limits, Deflate | None]:
        """Return the 101 response to a ``websocket.accept``, the limits, and the compression that was agreed on.

        Raises:
            TypeError: for a policy with fields that the wire does not know.
            ValueError: for a subprotocol or headers that are not legal.
        """
        policy = event.get("policy")
        limits = defaults if policy is None else _limits(defaults, tuple(policy.items()))
        agreed = negotiate(self._request.values(b"sec-websocket-extensions")) if limits.compression else None
        extension, deflate = (None, None) if agreed is None else agreed
        answer = upgrade_answer(
            self._request,
            subprotocol=event.get("subprotocol"),
            extension=extension,
            headers=(*self._headers, *(event.get("headers") or ())),
        )
        return answer, limits, deflate

    def start(self, event: dict[str, Any]) -> None:
        """Take a ``websocket.http.response.start``.

        Raises:
            ValueError: for headers that are not legal.
        """
        status = int(event["status"])
        fields = [(bytes(name), bytes(value)) for name, value in event.get("headers") or ()]
        response_head(status, fields)  # raises for what is not legal
        self.status, self._fields = status, fields

    def body(self, event: dict[str, Any]) -> bytes:
        """Return what a ``websocket.http.response.body`` adds to the response; the head comes with the first one."""
        body = bytes(event.get("body") or b"")
        if self.has_begun:
            return body
        assert self.status is not None
        self.has_begun = True
        fields = [*self._headers, *self._fields]
        if not event.get("more_body") and all(name.lower() != b"content-length" for name, _ in fields):
            fields.append((b"Content-Length", str(len(body)).encode()))
        return response_head(self.status, fields) + body

    def problem(self, status: int, detail: str) -> bytes:
        """Return a whole problem response (RFC 9457)."""
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._headers]
        return problem_answer(status, detail, headers)


@functools.lru_cache(maxsize=256)
def _limits(defaults: Limits, fields: tuple[tuple[str, Any], ...]) -> Limits:
    """Return the limits of an endpoint; its connections share one object."""
    return replace(defaults, **dict(fields))
