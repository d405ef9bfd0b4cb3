"""Close codes by name, and what a client should do after each (RFC 6455 section 7.4, IANA registry)."""

from __future__ import annotations

import enum
from typing import NamedTuple

__all__ = [
    "CATALOGUE",
    "MAX_REASON_BYTES",
    "Advice",
    "CloseCode",
    "CloseEntry",
    "close_codes",
    "is_sendable",
    "truncate_reason",
]

#: A close frame is a control frame of at most 125 bytes, two of which are the code (RFC 6455, 5.5).
MAX_REASON_BYTES = 123


class CloseCode(enum.IntEnum):
    """The close codes that this project sends or reports."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    UNAUTHORIZED = 3000
    FORBIDDEN = 3003
    TIMEOUT = 3008


class Advice(enum.StrEnum):
    """What a client should do once the connection has ended."""

    STOP = "stop"
    """Do not come back: the same connection would end the same way."""
    RECONNECT = "reconnect"
    """Come back after a back-off with jitter."""
    RENEW = "renew"
    """Get a new token first, then come back."""


class CloseEntry(NamedTuple):
    """A close code, what a client should do next, and a sentence for people."""

    code: CloseCode
    advice: Advice
    meaning: str


_ENTRIES = (
    CloseEntry(CloseCode.NORMAL, Advice.STOP, "The conversation is over."),
    CloseEntry(CloseCode.GOING_AWAY, Advice.RECONNECT, "The page was left or the server is going down."),
    CloseEntry(CloseCode.PROTOCOL_ERROR, Advice.STOP, "A frame broke RFC 6455."),
    CloseEntry(CloseCode.UNSUPPORTED_DATA, Advice.STOP, "This endpoint does not take this kind of message."),
    CloseEntry(CloseCode.NO_STATUS, Advice.STOP, "The peer closed without giving a code."),
    CloseEntry(CloseCode.ABNORMAL, Advice.RECONNECT, "The TCP connection ended without a close frame."),
    CloseEntry(CloseCode.INVALID_DATA, Advice.STOP, "A text message or a close reason was not UTF-8."),
    CloseEntry(CloseCode.POLICY_VIOLATION, Advice.STOP, "More messages than the endpoint's policy allows."),
    CloseEntry(CloseCode.MESSAGE_TOO_BIG, Advice.STOP, "A message or frame was over the endpoint's limit."),
    CloseEntry(CloseCode.INTERNAL_ERROR, Advice.RECONNECT, "An error in the server, or a peer that was silent."),
    CloseEntry(CloseCode.SERVICE_RESTART, Advice.RECONNECT, "The server is being restarted."),
    CloseEntry(CloseCode.TRY_AGAIN_LATER, Advice.RECONNECT, "The peer did not read as fast as it was sent to."),
    CloseEntry(CloseCode.UNAUTHORIZED, Advice.RENEW, "The access token has expired, or the session has ended."),
    CloseEntry(
        CloseCode.FORBIDDEN, Advice.STOP, "The account or its right to be here is gone, or staff ended the connection."
    ),
    CloseEntry(CloseCode.TIMEOUT, Advice.RECONNECT, "Nothing was received for longer than the endpoint allows."),
)
CATALOGUE = {int(entry.code): entry for entry in _ENTRIES}

#: Codes from 1000 to 2999 that may stand in a close frame (IANA registry, without 1004 to 1006 and 1015).
_SENDABLE_PROTOCOL_CODES = frozenset(range(1000, 1004)) | frozenset(range(1007, 1015))


def is_sendable(code: int) -> bool:
    """Tell whether ``code`` may stand in a close frame (RFC 6455, 7.4.1 and 7.4.2)."""
    return code in _SENDABLE_PROTOCOL_CODES or 3000 <= code <= 4999


def truncate_reason(reason: str) -> str:
    """Shorten ``reason`` to the 123 bytes of UTF-8 that fit a close frame, at a character boundary.

    A lone surrogate, which UTF-8 cannot express, becomes ``?``.
    """
    encoded = reason.encode("utf-8", "replace")
    return encoded[:MAX_REASON_BYTES].decode("utf-8", "ignore")


_NEXT_STEP = {
    Advice.STOP: "A client should not come back by itself.",
    Advice.RECONNECT: "A client should come back after a pause.",
    Advice.RENEW: "A client should get a new token, then come back.",
}


def close_codes() -> dict[int, dict[str, str]]:
    """Return the catalogue of close codes as a script in a page needs it."""
    return {
        code: {
            "name": entry.code.name,
            "meaning": entry.meaning,
            "advice": entry.advice.value,
            "next": _NEXT_STEP[entry.advice],
        }
        for code, entry in CATALOGUE.items()
    }
