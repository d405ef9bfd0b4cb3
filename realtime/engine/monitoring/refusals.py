"""The one log line of a refused handshake."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from realtime.engine.monitoring.logs import event

__all__ = ["log_refusal"]

logger = logging.getLogger("realtime.handshake")

#: Characters of a client's value that are logged.
MAX_VALUE = 200


def log_refusal(
    status: int, cause: str, path: bytes, headers: Iterable[tuple[bytes, bytes]], *, connection: str = ""
) -> None:
    """Log why a handshake was refused: status, cause, origin, host and path, never the query or a token.

    Args:
        status: the HTTP status of the answer.
        cause: what was wrong.
        path: the path of the request; a query on it is cut off.
        headers: names in lower case.
        connection: id of the connection, where there is one already.
    """
    values = dict(headers)
    identity = {"connection": connection} if connection else {}
    event(
        logger,
        logging.WARNING,
        "handshake refused",
        **identity,
        status=status,
        cause=cause,
        origin=_text(values.get(b"origin", b"")),
        host=_text(values.get(b"host", b"")),
        path=_text(path.partition(b"?")[0]),
    )


def _text(value: bytes) -> str:
    return value.decode("latin-1")[:MAX_VALUE]
