"""What ``@on_message`` asks before a handler runs: its rate and its permission."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import Any

from realtime.engine.consumers.rates import MessageRate
from realtime.engine.protocol.errors import DeclarationError, MessageRefused
from realtime.engine.services.database import in_permission_thread

__all__ = ["MessageRequest", "MessageView", "Permission", "Rate"]

#: REST framework's notation: ``5/s``, ``100/hour``. Only the first letter of the period counts.
_RATE = re.compile(r"(?P<count>[1-9]\d*)/(?P<period>[smhd])[a-z]*")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Rate:
    """So many messages within so many seconds; all of them may come at once.

    Args:
        text: as it was declared.
        count: messages.
        seconds: the time in which they may come.
    """

    text: str
    count: int
    seconds: int

    @classmethod
    def parse(cls, text: Any) -> Rate:
        """Return a rate in REST framework's notation; raises ``DeclarationError`` for another."""
        found = _RATE.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise DeclarationError(f"rate={text!r}: write a number and a period, like '5/s', '30/min' or '100/hour'")
        return cls(text, int(found["count"]), _SECONDS[found["period"]])

    def bucket(self, now: float) -> MessageRate:
        """Return a bucket for one connection that is full at monotonic time ``now``."""
        return MessageRate(self.count / self.seconds, now, burst=self.count)

    @property
    def refusal(self) -> MessageRefused:
        """What a message over the rate is answered with."""
        return MessageRefused("rate_limited", f"More than {self.text} messages of this type; this one had no effect.")


class MessageRequest:
    """What a permission class of REST framework is given as its ``request``.

    Attributes:
        user: the user of the connection.
        auth: None.
        method: ``POST``: a message is taken for one that changes something.
        data: the message, a struct.
        query_params: the consumer's ``query``.
        scope: the ASGI scope of the connection.
    """

    method = "POST"
    auth = None

    def __init__(self, consumer: Any, message: Any) -> None:
        self.user = consumer.user
        self.data = message
        self.query_params = consumer.query
        self.scope = consumer.scope


class MessageView:
    """What a permission class of REST framework is given as its ``view``: the consumer, with what such a class reads.

    Attributes:
        action: name of the handler.
        kwargs: the parameters of the route.
        request: the ``MessageRequest``.
    """

    def __init__(self, consumer: Any, action: str, request: MessageRequest) -> None:
        self._consumer = consumer
        self.action = action
        self.kwargs = consumer.scope.get("url_route", {}).get("kwargs", {})
        self.request = request

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)


class Permission:
    """Asks a callable, or a permission class of REST framework, whether a message may be handled.

    Args:
        permission: ``(consumer, message) -> bool``, which may be asynchronous, or a class with ``has_permission()``
            or a combination of such (``IsAuthenticated & IsMember``). A class is asked in a thread, since it may use
            the database.

    Raises:
        DeclarationError: for anything else.
    """

    def __init__(self, permission: Any) -> None:
        # Two classes joined by "&" are no class, but make what has ``has_permission()`` when they are called.
        is_class = isinstance(permission, type)
        self._is_class = is_class or hasattr(permission, "operator_class")
        if not callable(permission) or hasattr(permission, "has_permission") is not is_class:
            raise DeclarationError(
                f"permission={permission!r}: write a callable of the consumer and the message, or a permission class "
                "of REST framework (the class, not an instance of it)"
            )
        self._permission = permission

    async def check(self, consumer: Any, message: Any, action: str) -> None:
        """Return if the message may be handled, else raise ``MessageRefused``."""
        if self._is_class:
            instance = self._permission()
            request = MessageRequest(consumer, message)
            view = MessageView(consumer, action, request)
            allowed = await in_permission_thread(instance.has_permission)(request, view)
            detail = getattr(instance, "message", None)
        else:
            allowed, detail = self._permission(consumer, message), None
        if inspect.isawaitable(allowed):
            allowed = await allowed
        if not allowed:
            raise MessageRefused("forbidden", str(detail or "You may not do that."))
