"""Turns tracing on, by OpenTelemetry's own environment variables or by a tracer provider that is set already.

``OTEL_TRACES_EXPORTER`` (``otlp``, ``console``, or what an installed package registers) turns tracing on. So does a
tracer provider that is there already: ``opentelemetry-instrument``, or the project's own code, has set it.
"""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from realtime.engine.monitoring.logs import CONTEXT
from realtime.engine.monitoring.tracing import TRACING

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

logger = logging.getLogger("realtime.tracing")

#: Packages register their exporters under it.
EXPORTERS = "opentelemetry_traces_exporter"

#: Names of the OTLP exporters by ``OTEL_EXPORTER_OTLP_PROTOCOL``; the first one is the specification's default.
OTLP_EXPORTERS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


def start() -> None:
    """Trace from now on, if that is wanted and possible; what keeps it from it is logged once, as a warning."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    provider = _existing_provider() or _provider_of_the_environment()
    if provider is not None:
        from realtime.engine.monitoring.tracing.spans import OpenTelemetryTracer

        TRACING.tracer = OpenTelemetryTracer(provider)
        CONTEXT.append(TRACING.tracer.identifiers)


def _existing_provider() -> TracerProvider | None:
    # Code that has set a provider has imported this module.
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    provider = trace.get_tracer_provider()
    return None if isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)) else provider


def _provider_of_the_environment() -> TracerProvider | None:
    names = {name.strip() for name in os.environ.get("OTEL_TRACES_EXPORTER", "").split(",")} - {"", "none"}
    if not names:
        return None
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        logger.warning("OTEL_TRACES_EXPORTER is set, but %s is missing: pip install -r requirements-tracing.txt", error)
        return None
    exporters = [exporter for name in names if (exporter := _exporter(name)) is not None]
    if not exporters:
        return None
    # It reads sampler, resource and limits from the environment itself, and flushes at the end of the process.
    provider = TracerProvider()
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider


def _exporter(name: str) -> Any:
    """Return a new exporter; None, with a warning, for one that is not installed (an unknown value is ignored)."""
    if name == "otlp":
        wanted = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        name = OTLP_EXPORTERS.get((wanted or next(iter(OTLP_EXPORTERS))).strip(), f"otlp by {wanted}")
    for entry in entry_points(group=EXPORTERS, name=name):
        return entry.load()()
    known = ", ".join(sorted(entry.name for entry in entry_points(group=EXPORTERS)))
    logger.warning("No exporter %r for OTEL_TRACES_EXPORTER is installed; there are: %s.", name, known)
    return None
