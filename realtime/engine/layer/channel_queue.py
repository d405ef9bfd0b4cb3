"""The bounded queue of messages for one channel."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from realtime.engine.layer.statistics import Statistics

__all__ = ["RESYNCHRONISE", "Mailbox", "MailboxRules"]

logger = logging.getLogger(__name__)

ChannelMessage = dict[str, Any]

#: Tells a member that it may have missed messages: its mailbox ran over, or the connection to Redis was lost.
RESYNCHRONISE = "layer.resynchronise"


@dataclass(slots=True)
class MailboxRules:
    """What all mailboxes of a layer have in common.

    Args:
        expiry: seconds after which a message that nobody took is dropped.
        statistics: where drops are counted.
        clock: a monotonic clock in seconds.
        lock: guards every mailbox; a mailbox is filled from any thread, and its critical sections are a few
            instructions long.
    """

    expiry: float
    statistics: Statistics
    clock: Callable[[], float] = time.monotonic
    lock: threading.Lock = field(default_factory=threading.Lock)


class Mailbox:
    """Messages that wait for one channel's consumer, oldest first; truth means that there is mail.

    A full mailbox refuses what comes next: the messages in it stay. The refused ones are counted, and logged once for
    each burst; a burst ends when the consumer has emptied the mailbox.

    Args:
        name: the channel's name, for the log.
        capacity: how many messages it holds.
        rules: what all mailboxes of the layer have in common.
        tell_of_loss: put one ``layer.resynchronise`` behind the last message that fitted, so that the consumer
            learns at which point it missed something. That message does not count against the capacity.
    """

    __slots__ = ("_mail", "_overflowing", "_rules", "_tell_of_loss", "capacity", "name")

    def __init__(self, name: str, capacity: int, rules: MailboxRules, *, tell_of_loss: bool = False) -> None:
        self.name = name
        self.capacity = capacity
        self._rules = rules
        self._tell_of_loss = tell_of_loss
        self._overflowing = False
        # Most connections never get mail: an empty deque for each would cost them more than half a kilobyte.
        self._mail: deque[tuple[float, ChannelMessage]] | None = None

    def put(self, message: ChannelMessage) -> int:
        """Add a message, from any thread.

        Args:
            message: a dict that belongs to this mailbox from now on.

        Returns:
            How many messages there are now: 1 means that the mailbox was empty, 0 that it is full and has
            refused the message.
        """
        rules = self._rules
        with rules.lock:
            self._drop_expired()
            mail = self._mail
            if mail is None:
                mail = self._mail = deque()
            if len(mail) < self.capacity:
                mail.append((rules.clock() + rules.expiry, message))
                return len(mail)
            rules.statistics.dropped += 1
            if self._overflowing:
                return 0
            self._overflowing = True
            if self._tell_of_loss:
                mail.append((float("inf"), {"type": RESYNCHRONISE}))
                rules.statistics.resynchronised += 1
        logger.warning(
            "The mailbox of channel %s is full (%d messages): messages are dropped until its consumer has caught up.",
            self.name,
            self.capacity,
        )
        return 0

    def tell_of_loss(self) -> int:
        """Add a ``layer.resynchronise`` message beyond the capacity; returns how many messages there are now."""
        with self._rules.lock:
            if self._mail is None:
                self._mail = deque()
            self._mail.append((float("inf"), {"type": RESYNCHRONISE}))
            self._rules.statistics.resynchronised += 1
            return len(self._mail)

    def get_nowait(self) -> ChannelMessage:
        """Take the oldest message.

        Raises:
            LookupError: if the mailbox is empty; ask for its truth first.
        """
        with self._rules.lock:
            if not self._mail:
                raise LookupError(f"the mailbox of channel {self.name} is empty")
            _, message = self._mail.popleft()
            self._settle()
            return message

    def clear(self) -> None:
        """Throw away everything that waits; it is not counted as dropped."""
        with self._rules.lock:
            self._mail = None
            self._overflowing = False

    def __len__(self) -> int:
        with self._rules.lock:
            self._drop_expired()
            return len(self._mail) if self._mail is not None else 0

    def __bool__(self) -> bool:
        return self._mail is not None and len(self) > 0

    def _drop_expired(self) -> None:
        mail = self._mail
        if mail is None:
            return
        now = self._rules.clock()
        while mail and mail[0][0] <= now:
            mail.popleft()
            self._rules.statistics.expired += 1
        self._settle()

    def _settle(self) -> None:
        if not self._mail:
            self._mail = None
            self._overflowing = False
