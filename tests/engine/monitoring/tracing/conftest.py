"""The real SDK, with an exporter that keeps the spans for the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from realtime.engine.monitoring import logs
from realtime.engine.monitoring.tracing import TRACING
from realtime.engine.monitoring.tracing.spans import OpenTelemetryTracer


class Spans:
    """What was traced.

    Attributes:
        tracer: makes spans of the test's own, beside those of the project.
    """

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer: Tracer = self.provider.get_tracer("test")

    @property
    def finished(self) -> list[ReadableSpan]:
        """All spans that have ended, in the order of their ends."""
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """The spans of this name."""
        return [span for span in self.finished if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only span of this name."""
        found = self.named(name)
        assert len(found) == 1, [span.name for span in self.finished]
        return found[0]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """Trace during the test."""
    recorded = Spans()
    tracer = OpenTelemetryTracer(recorded.provider)
    monkeypatch.setattr(TRACING, "tracer", tracer)
    monkeypatch.setattr(logs, "CONTEXT", [tracer.identifiers])
    yield recorded
    recorded.provider.shutdown()
