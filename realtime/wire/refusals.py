"""The one log line of a refused handshake."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable

__all__ = ["log_refusal"]

logger = logging.getLogger("realtime.wire")


def log_refusal(status: int, cause: str, path: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Log why a handshake was refused: status, cause, origin, host and path, never the query or a token.

    Args:
        status: the HTTP status of the answer.
        cause: what was wrong.
        path: the path of the request; a query on it is cut off.
        headers: names in lower case.
    """
    values = dict(headers)
    logger.info(
        "handshake refused status=%d cause=%s origin=%s host=%s path=%s",
        status,
        json.dumps(cause),
        _quoted(values.get(b"origin", b"")),
        _quoted(values.get(b"host", b"")),
        _quoted(path.partition(b"?")[0]),
    )


def _quoted(value: bytes) -> str:
    """Return a value of the client as one word, so that it cannot forge a field or a line."""
    return json.dumps(value.decode("latin-1"))
