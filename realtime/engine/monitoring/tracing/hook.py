"""Where tracing hooks in. Until a process traces, all of it is one attribute that is None.

A consumer chooses its handlers once, when a connection begins: what runs for each message is either the plain
handler or one within a span. The channel layer looks at ``TRACING.tracer`` once for each message that it sends. Nothing
here knows OpenTelemetry; ``tracing.spans`` does, and is imported only where traces are wanted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

__all__ = [
    "TRACING",
    "UNTRACED",
    "Carrier",
    "ConnectionTracer",
    "Handler",
    "TracedMessage",
    "Tracer",
    "batch_span",
    "continuing",
    "current_trace",
    "trace_handshakes",
    "trace_mail",
]

#: A trace context as it travels: ``traceparent``, and what else the propagators write (W3C Trace Context).
Carrier = dict[str, str]

Handler = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


class ConnectionTracer(Protocol):
    """Makes the spans of one connection; a traced connection has it as ``scope["trace"]``."""

    def events(self, handle: Handler) -> Handler:
        """Return a handler that runs ``websocket.connect`` within the handshake's span, and all else as it is."""

    def messages(self, handle: Handler) -> Handler:
        """Return a handler that runs each message of the client in a span, linked to the handshake's."""

    def mail(self, handle: Handler) -> Handler:
        """Return a handler that runs each channel-layer message in a span, a child of its sender's."""


class _Untraced:
    """Leaves every handler as it is."""

    def events(self, handle: Handler) -> Handler:
        return handle

    messages = mail = events


#: Stands for the tracer of a connection that has none.
UNTRACED: ConnectionTracer = _Untraced()


class Tracer(Protocol):
    """Makes the spans of a process."""

    def handshakes(self, application: Application) -> Application:
        """Return an application that gives each handshake a span."""

    def mail(self, handle: Handler) -> Handler:
        """Return a handler that runs each channel-layer message in a span, a child of its sender's."""

    def sending(
        self, operation: str, destination: str, message: Mapping[str, Any]
    ) -> AbstractContextManager[Carrier | None]:
        """Give a message to the channel layer a span, if it is sent within one, and return the context to carry."""

    def current(self) -> Carrier | None:
        """Return the context of the current span, to continue or to link it later; None outside of one."""

    def continuing(self, carrier: Carrier | None) -> AbstractContextManager[None]:
        """Let what is sent meanwhile belong to the span of ``carrier``."""

    def batch(self, name: str, carriers: Sequence[Carrier | None]) -> AbstractContextManager[None]:
        """Give work for several messages a span, linked to theirs; none where no message has one."""

    def identifiers(self) -> Mapping[str, str]:
        """Return ``trace_id`` and ``span_id`` of the current span, for the log; nothing outside of one."""


class _Tracing:
    """Whether this process traces.

    Attributes:
        tracer: None while it does not.
    """

    __slots__ = ("tracer",)

    def __init__(self) -> None:
        self.tracer: Tracer | None = None


#: Set once, by ``realtime.engine.monitoring.tracing.setup.start()``, before the first connection.
TRACING = _Tracing()


class TracedMessage(dict[str, Any]):
    """A channel-layer message and the context of who sent it; for its handler a dict like any other, without a new key.

    Args:
        message: the message.
        trace: its sender's context.
    """

    __slots__ = ("trace",)

    def __init__(self, message: Mapping[str, Any], trace: Carrier) -> None:
        super().__init__(message)
        self.trace = trace


def trace_handshakes(application: Application) -> Application:
    """Return ``application`` itself, or one that gives each WebSocket handshake a span, where this process traces."""
    return application if TRACING.tracer is None else TRACING.tracer.handshakes(application)


def current_trace() -> Carrier | None:
    """Return the context of the current span, for work that others will do; None outside of a span."""
    return None if TRACING.tracer is None else TRACING.tracer.current()


def continuing(trace: Carrier | None) -> AbstractContextManager[None]:
    """Let what is sent meanwhile belong to the span of ``trace``."""
    return nullcontext() if TRACING.tracer is None else TRACING.tracer.continuing(trace)


def batch_span(name: str, traces: Sequence[Carrier | None]) -> AbstractContextManager[None]:
    """Give work for several causes a span, linked to those of theirs that have one."""
    return nullcontext() if TRACING.tracer is None else TRACING.tracer.batch(name, traces)


def trace_mail(handle: Handler) -> Handler:
    """Return ``handle`` itself, or one that runs each channel-layer message in a span, where this process traces."""
    return handle if TRACING.tracer is None else TRACING.tracer.mail(handle)
