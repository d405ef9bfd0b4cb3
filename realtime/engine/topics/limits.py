"""Every number of the topics in one place, each with its reason.

The Django setting ``REALTIME_TOPICS`` is a dict that changes fields of ``Limits``. The constants are fixed: the
channel layer or the database relies on them.
"""

from __future__ import annotations

from dataclasses import dataclass

from realtime.engine.services.limits import configured_limits

#: Characters of a topic's name. With the prefix of its fan-outs it is a channel-layer group, of fewer than 100.
MAX_NAME = 80

#: Characters of an identity in presence: a primary key, or 32 hexadecimal digits, and what kind it is.
MAX_KEY = 100

#: Bytes of JSON that one subscriber's presence metadata takes; every other subscriber gets them.
MAX_METADATA = 1024

#: No database of this project counts further (BIGINT).
MAX_SEQ = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """What an operator may change.

    Args:
        pending_writes: messages of one connection that may wait for the store. Then its socket is not read.
        write_timeout: seconds that a message may wait for the store before its author gets an error. People do not
            wait longer, and a client that sends it again loses nothing.
        resume: messages that a returning subscriber may have missed; beyond it, it gets the newest ones instead.
        newest: messages that a subscriber gets that comes without a position: one screen.
        batch: messages stored in one transaction; longer ones would hold the locks of their topics too long.
        queue: messages of the process that may wait for a store, before senders wait.
        outgoing: batches that may wait to be published. Beyond it, other processes find them in the store.
        held: messages that a fan-out keeps while it waits for an earlier one, and news that wait while a subscriber
            comes.
        tail_check: seconds between two looks at the store for messages whose publication was lost.
        grace: seconds that an overtaken message may be late before it is read from the store.
    """

    pending_writes: int = 64
    write_timeout: float = 5.0
    resume: int = 1000
    newest: int = 50
    batch: int = 500
    queue: int = 5000
    outgoing: int = 1000
    held: int = 2000
    tail_check: float = 2.0
    grace: float = 0.05


limits = configured_limits(Limits, "REALTIME_TOPICS")
