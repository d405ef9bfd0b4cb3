"""Tracing: spans for handshakes, messages and broadcasts, where OpenTelemetry is wanted (docs/tracing.md)."""

from realtime.engine.monitoring.tracing.hook import (
    TRACING,
    UNTRACED,
    Carrier,
    ConnectionTracer,
    Handler,
    TracedMessage,
    Tracer,
    batch_span,
    continuing,
    current_trace,
    trace_handshakes,
    trace_mail,
)

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
