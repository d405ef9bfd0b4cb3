"""What the wire enforces on one connection: the part of a policy that concerns bytes and times."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["DEFAULT_LIMITS", "Limits", "limits_from_policy"]

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one connection; sizes in bytes, times in seconds, None for no limit.

    The names and meanings are those of ``engine.policy.SocketPolicy``, which has validated them. A consumer that
    sends no policy with its accept gets these defaults; the sizes are Daphne's own.
    """

    max_message_size: int | None = MIB
    max_frame_size: int | None = MIB
    write_buffer_size: int = 128 * KIB
    max_write_buffer_size: int | None = None
    accept_unmasked_frames: bool = False
    ping_interval: float | None = None
    ping_timeout: float = 20
    idle_timeout: float | None = None
    compression: bool = False
    max_fragments: int = 131_072
    message_timeout: float | None = 60
    close_timeout: float = 10


DEFAULT_LIMITS = Limits()


def limits_from_policy(policy: Mapping[str, Any], defaults: Limits = DEFAULT_LIMITS) -> Limits:
    """Return the limits that a ``websocket.accept`` event asks for.

    Connections of one endpoint share one ``Limits`` object.

    Args:
        policy: the value of ``policy`` in the event, as ``SocketPolicy.for_wire()`` makes it.
        defaults: what applies to the fields that are not named.

    Raises:
        TypeError: for a field that the wire does not know.
    """
    return _limits(tuple(policy.items()), defaults)


@functools.lru_cache(maxsize=256)
def _limits(fields: tuple[tuple[str, Any], ...], defaults: Limits) -> Limits:
    values = {name: getattr(defaults, name) for name in Limits.__slots__}
    unknown = [name for name, _ in fields if name not in values]
    if unknown:
        raise TypeError(f"websocket.accept: the wire does not know the policy fields {', '.join(unknown)}")
    return Limits(**values | dict(fields))
