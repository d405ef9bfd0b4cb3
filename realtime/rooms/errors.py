"""The error codes of the rooms protocol."""

from __future__ import annotations

from typing import Literal

__all__ = ["ErrorCode"]

#: What an ``Error`` of the rooms protocol tells a client's program.
ErrorCode = Literal[
    "forbidden",
    "internal",
    "invalid_message",
    "not_joined",
    "rate_limited",
    "too_large",
    "unauthorized",
    "unknown_room",
]
