"""HTTP errors as ``application/problem+json`` (RFC 9457), the body of every refused handshake."""

from __future__ import annotations

import json
from collections.abc import Iterable
from http import HTTPStatus

__all__ = ["CONTENT_TYPE", "problem_body", "problem_response"]

CONTENT_TYPE = "application/problem+json"


def problem_body(status: int, detail: str) -> bytes:
    """Return the JSON body with ``title``, ``status`` and ``detail`` (RFC 9457, 3.1).

    Args:
        status: the HTTP status.
        detail: what was wrong with this request.
    """
    problem = {"title": HTTPStatus(status).phrase, "status": int(status), "detail": detail}
    return json.dumps(problem).encode()


def problem_response(
    status: int, detail: str, headers: Iterable[tuple[str, str]] = ()
) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return ASGI headers and body of a problem response.

    Args:
        status: the HTTP status.
        detail: what was wrong with this request.
        headers: further headers, for instance ``Retry-After``.
    """
    body = problem_body(status, detail)
    return [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers),
    ], body
