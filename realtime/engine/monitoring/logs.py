"""Logs: one line for each event, with the connection it belongs to, and without anybody's secrets.

::

    event(logger, logging.INFO, "closed", code=1000, by="client", path="/ws")

    12:00:00 INFO realtime.access connection=9f2c closed code=1000 by=client path=/ws           text
    time=2026-05-01T12:00:00.000Z level=INFO logger=realtime.access connection=9f2c event=closed code=1000 ...  keyvalue
    {"time": "2026-05-01T12:00:00.000Z", "level": "INFO", "logger": "realtime.access", "connection": "9f2c", ...}  json

What is logged while a connection's application runs carries the connection's id by itself, in any logger; what is
logged within a span carries ``trace_id`` and ``span_id``.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any

#: One line for each request and connection.
ACCESS = logging.getLogger("realtime.access")
#: One line for each refused handshake.
HANDSHAKE = logging.getLogger("realtime.handshake")

#: The connection whose application is running; empty outside of one.
CONNECTION_ID: ContextVar[str] = ContextVar("connection_id", default="")

#: What else each line says of where it was logged: functions that return fields. Tracing adds one.
CONTEXT: list[Callable[[], Mapping[str, str]]] = []

#: Requests of monitors, every few seconds.
QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})

#: Characters of a client's header that are logged.
MAX_HEADER = 200

_SECRET = re.compile(
    r"""((?:[?&\s"']|^)(?:ticket|token|access|refresh|access_token|password)=)[^&\s"']+|(\bBearer\s+)[\w\-.~+/]+=*"""
    # The token in Django's links to a new password.
    r"""|(/)[0-9a-z]{6,13}-[0-9a-f]{32}\b""",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"[^\s\"=]+")


def redact(line: str) -> str:
    """Return a line without tickets, tokens and passwords, should something have logged one."""
    return _SECRET.sub(lambda match: match[match.lastindex or 0] + "[removed]", line)


def without_query(target: str) -> str:
    """Return a request target without its query, which may carry a ticket."""
    return target.partition("?")[0]


def event(logger: logging.Logger, level: int, name: str, /, **fields: Any) -> None:
    """Log one event.

    Args:
        logger: where to.
        level: a level of ``logging``.
        name: what happened, in a word or two.
        fields: what else is known; strings of clients are quoted, so that they cannot forge a field or a line.
    """
    if logger.isEnabledFor(level):
        message = " ".join([name, *(f"{key}={_word(value)}" for key, value in fields.items())])
        logger.log(level, "%s", message, extra={"event": name, "fields": fields}, stacklevel=2)


def log_refusal(
    status: int, cause: str, path: bytes, headers: Iterable[tuple[bytes, bytes]], *, connection: str = ""
) -> None:
    """Log why a handshake was refused.

    Args:
        status: the HTTP status of the answer.
        cause: what was wrong.
        path: the path of the request; a query on it is cut off.
        headers: names in lower case; ``Origin`` and ``Host`` are logged.
        connection: id of the connection, where there is one already.
    """
    fields: dict[str, Any] = {"connection": connection} if connection else {}
    values = {name: value.decode("latin-1")[:MAX_HEADER] for name, value in headers}
    fields |= {"status": status, "cause": cause, "origin": values.get(b"origin", ""), "host": values.get(b"host", "")}
    fields["path"] = without_query(path.decode("latin-1"))[:MAX_HEADER]
    event(HANDSHAKE, logging.WARNING, "handshake refused", **fields)


def log_action(protocol: str, action: str, details: Mapping[str, Any]) -> None:
    """Log an HTTP request: Daphne's action logger. WebSockets have lines of their own."""
    if protocol != "http" or action != "complete":
        return
    path = without_query(details["path"])
    event(
        ACCESS,
        logging.DEBUG if path in QUIET_PATHS else logging.INFO,
        "request",
        method=details["method"],
        path=path,
        status=details["status"],
        bytes=details["size"],
        seconds=round(details["time_taken"], 4),
        client=details["client"],
    )


class WithoutQuery(logging.Filter):
    """Cuts the query off every request target in a record's arguments: for the access logs of other servers."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, and let it pass."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                redact(without_query(value)) if isinstance(value, str) and value.startswith("/") else value
                for value in record.args
            )
        return True


class TextFormatter(logging.Formatter):
    """Lines for people, tracebacks as usual."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s%(context)s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or the lines where there is a traceback."""
        own = getattr(record, "fields", {})
        context = {name: value for name, value in _context().items() if name not in own}
        record.context = "".join(f" {name}={value}" for name, value in context.items())
        return redact(super().format(record))


class KeyValueFormatter(logging.Formatter):
    """``key=value`` pairs on one line; a traceback is one quoted value."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return redact(self.line(self._entry(record)))

    def line(self, entry: Mapping[str, Any]) -> str:
        """Return the fields of a record as one line."""
        return " ".join(f"{key}={_word(value)}" for key, value in entry.items())

    def _entry(self, record: logging.LogRecord) -> dict[str, Any]:
        entry: dict[str, Any] = {"time": self.formatTime(record), "level": record.levelname, "logger": record.name}
        entry |= _context()
        own = getattr(record, "fields", None)
        entry |= {"message": record.getMessage()} if own is None else {"event": getattr(record, "event", ""), **own}
        if record.exc_info and record.exc_info[0] is not None:
            entry["exception"] = self.formatException(record.exc_info)
        return entry


class JsonFormatter(KeyValueFormatter):
    """One JSON object on each line."""

    def line(self, entry: Mapping[str, Any]) -> str:
        """Return the fields of a record as one line."""
        return json.dumps(entry, default=str)


def _context() -> dict[str, str]:
    """Return the connection in which something is logged, and what ``CONTEXT`` adds."""
    connection = CONNECTION_ID.get()
    context = {"connection": connection} if connection else {}
    for fields in CONTEXT:
        context |= fields()
    return context


def _word(value: Any) -> str:
    """Return a value as one word: quoted and escaped unless it is one already."""
    text = str(round(value, 4) if isinstance(value, float) else value)
    return text if text.isascii() and text.isprintable() and _PLAIN.fullmatch(text) else json.dumps(text)
