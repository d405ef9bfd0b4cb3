"""Every number of the rooms in one place, each with its reason.

The Django setting ``REALTIME_ROOMS`` is a dict that changes fields of ``Limits``; ``REALTIME_TOPICS`` has what rooms
share with every other topic. The constants are fixed: the protocol
or the database relies on them.
"""

from __future__ import annotations

from dataclasses import dataclass

from realtime.engine.services.limits import configured_limits

#: ``room.<slug>`` has to be a channel-layer group name, of fewer than 100 characters.
MAX_SLUG = 64

#: Characters of a name that are stored with messages and shown: the columns hold no more.
MAX_NAME = 150

#: A UUID has 36 characters; this leaves room for a client's prefix. Longer ones only cost storage and echo.
MAX_REF = 128

#: Messages on one page of ``History`` and of the API; a page of long messages stays under 1 MiB.
MAX_PAGE = 200

#: Values of ``REALTIME_ROOM_CREATION``, the widest first.
ROOM_CREATION = ("anyone", "authenticated", "staff")


@dataclass(frozen=True, slots=True)
class Limits:
    """What an operator may change.

    Args:
        content_length: characters of one message. Two screens of text; more belongs into a file.
        rooms_per_connection: rooms that one connection may be in; each costs presence and fan-out.
        messages_per_second: commands of one connection on average; no person is that fast.
        burst: commands that one connection may send at once: what piled up while it was offline.
    """

    content_length: int = 4000
    rooms_per_connection: int = 20
    messages_per_second: float = 50
    burst: int = 1000


limits = configured_limits(Limits, "REALTIME_ROOMS")
