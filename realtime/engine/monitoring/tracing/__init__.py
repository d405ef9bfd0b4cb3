"""Tracing: spans for handshakes, messages and broadcasts, where OpenTelemetry is wanted (docs/tracing.md).

A consumer chooses its handlers once, when a connection begins: what runs for each message is either the plain
handler or one within a span. The channel layer looks at ``TRACING.tracer`` once for each message that it sends.
Nothing here knows OpenTelemetry; ``tracing.spans`` does, and is imported only where traces are wanted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

__all__ = [
    "TRACING",
    "Carrier",
    "Handler",
    "TracedMessage",
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


class Tracer(Protocol):
    """What makes the spans: ``spans.OpenTelemetryTracer``."""

    def handshakes(self, application: Application) -> Application: ...
    def mail(self, handle: Handler) -> Handler: ...
    def sending(
        self, operation: str, destination: str, message: Mapping[str, Any]
    ) -> AbstractContextManager[Carrier | None]: ...
    def current(self) -> Carrier | None: ...
    def continuing(self, carrier: Carrier | None) -> AbstractContextManager[None]: ...
    def batch(self, name: str, carriers: Sequence[Carrier | None]) -> AbstractContextManager[None]: ...


class _Tracing:
    tracer: Tracer | None = None


#: ``tracer`` is None in a process that does not trace. ``setup.start()`` sets it, before the first connection.
TRACING = _Tracing()


class TracedMessage(dict[str, Any]):
    """A channel-layer message with the context of its sender, which is no key of the dict.

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


def trace_mail(handle: Handler) -> Handler:
    """Return ``handle`` itself, or one that runs each channel-layer message in a span, where this process traces."""
    return handle if TRACING.tracer is None else TRACING.tracer.mail(handle)


def current_trace() -> Carrier | None:
    """Return the context of the current span, to continue or to link it later; None outside of one."""
    return None if TRACING.tracer is None else TRACING.tracer.current()


def continuing(trace: Carrier | None) -> AbstractContextManager[None]:
    """Let what is sent meanwhile belong to the span of ``trace``."""
    return nullcontext() if TRACING.tracer is None else TRACING.tracer.continuing(trace)


def batch_span(name: str, traces: Sequence[Carrier | None]) -> AbstractContextManager[None]:
    """Give work for several causes a span, linked to those of theirs that have one."""
    return nullcontext() if TRACING.tracer is None else TRACING.tracer.batch(name, traces)
