"""Close codes by name, and what a client should do after each (RFC 6455 section 7.4, IANA registry)."""

from __future__ import annotations

import enum
from typing import Self

#: Payload limit of a control frame in bytes (RFC 6455, 5.5).
MAX_CONTROL_PAYLOAD = 125
#: The payload of a close frame begins with two bytes of code.
MAX_REASON_BYTES = MAX_CONTROL_PAYLOAD - 2


class Advice(enum.StrEnum):
    """What a client should do once the connection has ended."""

    STOP = "stop"
    """Do not come back: the same connection would end the same way."""
    RECONNECT = "reconnect"
    """Come back after a back-off with jitter."""
    RENEW = "renew"
    """Get a new token first, then come back."""


class CloseCode(enum.IntEnum):
    """The close codes that this project sends or reports.

    Attributes:
        advice: what a client should do next.
        meaning: a sentence for people.
    """

    advice: Advice
    meaning: str

    def __new__(cls, code: int, advice: Advice = Advice.STOP, meaning: str = "") -> Self:
        member = int.__new__(cls, code)
        member._value_ = code
        member.advice, member.meaning = advice, meaning
        return member

    NORMAL = 1000, Advice.STOP, "The conversation is over."
    GOING_AWAY = 1001, Advice.RECONNECT, "The page was left or the server is going down."
    PROTOCOL_ERROR = 1002, Advice.STOP, "A frame broke RFC 6455."
    UNSUPPORTED_DATA = 1003, Advice.STOP, "This endpoint does not take this kind of message."
    NO_STATUS = 1005, Advice.STOP, "The peer closed without giving a code."
    ABNORMAL = 1006, Advice.RECONNECT, "The TCP connection ended without a close frame."
    INVALID_DATA = 1007, Advice.STOP, "A text message or a close reason was not UTF-8."
    POLICY_VIOLATION = 1008, Advice.STOP, "More messages than the endpoint's policy allows."
    MESSAGE_TOO_BIG = 1009, Advice.STOP, "A message or frame was over the endpoint's limit."
    INTERNAL_ERROR = 1011, Advice.RECONNECT, "An error in the server, or a peer that was silent."
    SERVICE_RESTART = 1012, Advice.RECONNECT, "The server is being restarted."
    TRY_AGAIN_LATER = 1013, Advice.RECONNECT, "The peer did not read as fast as it was sent to."
    UNAUTHORIZED = 3000, Advice.RENEW, "The access token has expired, or the session has ended."
    FORBIDDEN = 3003, Advice.STOP, "The account or its right to be here is gone, or staff ended the connection."
    TIMEOUT = 3008, Advice.RECONNECT, "Nothing was received for longer than the endpoint allows."


#: Codes from 1000 to 2999 that may stand in a close frame (IANA registry, without 1004 to 1006 and 1015).
_SENDABLE_PROTOCOL_CODES = frozenset(range(1000, 1004)) | frozenset(range(1007, 1015))


def is_sendable(code: int) -> bool:
    """Return whether ``code`` may stand in a close frame (RFC 6455, 7.4.1 and 7.4.2)."""
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
        code.value: {
            "name": code.name,
            "meaning": code.meaning,
            "advice": code.advice.value,
            "next": _NEXT_STEP[code.advice],
        }
        for code in CloseCode
    }
