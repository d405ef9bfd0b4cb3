"""The spans, by OpenTelemetry's API and semantic conventions; whether they are recorded is its sampler's decision.

A handshake is a SERVER span, a child of what the request's ``traceparent`` names. A message of the client begins a
trace of its own, since a connection lives for days, and links to the handshake. What is sent to the channel layer is a
PRODUCER span; the handler that gets it, in whichever process, a CONSUMER span below it. No span has a header beyond
the user agent, a query string, or anything of a message but its type and size.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from channels.exceptions import StopConsumer
from opentelemetry import propagate, trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.propagators.textmap import Getter
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from realtime.engine.monitoring.logs import CONNECTION_ID, redact
from realtime.engine.monitoring.tracing import Application, Carrier, Handler

Attributes = dict[str, str | int]

#: The instrumentation scope of all spans.
SCOPE = "realtime"

SWITCHING_PROTOCOLS = 101
FORBIDDEN = 403
SERVER_ERROR = 500

#: A handshake that ended without an answer: the client went away, or the server stopped.
ABANDONED = "abandoned"


class _Headers(Getter[list[tuple[bytes, bytes]]]):
    def get(self, carrier: list[tuple[bytes, bytes]], key: str) -> list[str] | None:
        name = key.lower().encode()
        return [value.decode("latin-1") for header, value in carrier if header == name] or None

    def keys(self, carrier: list[tuple[bytes, bytes]]) -> list[str]:
        return [header.decode("latin-1") for header, _ in carrier]


_HEADERS = _Headers()


class OpenTelemetryTracer:
    """Makes the spans of a process.

    Args:
        provider: where the spans go.
    """

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._tracer = provider.get_tracer(SCOPE, schema_url=Schemas.V1_44_0.value)

    def handshakes(self, application: Application) -> Application:
        """Return an application that gives each handshake a span, and each connection a ``scope["trace"]``."""

        async def traced(scope: dict[str, Any], receive: Any, send: Any) -> None:
            connection = scope["trace"] = ConnectionTracer(self._tracer, scope)
            try:
                await application(scope, receive, connection.answering(send))
            finally:
                connection.end()

        return traced

    def mail(self, handle: Handler) -> Handler:
        """Return a handler that runs each channel-layer message in a span, a child of its sender's."""
        return _traced_mail(self._tracer, handle, ())

    @contextmanager
    def sending(self, operation: str, destination: str, message: Mapping[str, Any]) -> Iterator[Carrier | None]:
        """Give a message to the channel layer a span, if it is sent within one, and return the context to carry."""
        if not trace.get_current_span().get_span_context().is_valid:
            yield None
            return
        kind = str(message.get("type"))
        attributes = _messaging("channels", operation, "send", kind) | {"messaging.destination.name": destination}
        span = self._tracer.start_span(f"{operation} {kind}", kind=SpanKind.PRODUCER, attributes=attributes)
        with _running(span):
            yield self.current()

    def current(self) -> Carrier | None:
        """Return the context of the current span; None outside of one."""
        carrier: Carrier = {}
        propagate.inject(carrier)
        return carrier or None

    @contextmanager
    def continuing(self, carrier: Carrier | None) -> Iterator[None]:
        """Let what is sent meanwhile belong to the span of ``carrier``."""
        token = attach(_extracted(carrier))
        try:
            yield
        finally:
            detach(token)

    @contextmanager
    def batch(self, name: str, carriers: Sequence[Carrier | None]) -> Iterator[None]:
        """Give work for several messages a span, linked to theirs; none where no message has one."""
        causes = [trace.get_current_span(_extracted(carrier)).get_span_context() for carrier in carriers]
        links = [Link(cause) for cause in causes if cause.is_valid]
        if not links:
            yield
            return
        attributes: Attributes = {"messaging.batch.message_count": len(carriers)}
        with _running(self._tracer.start_span(name, context=Context(), links=links, attributes=attributes)):
            yield

    def identifiers(self) -> Mapping[str, str]:
        """Return ``trace_id`` and ``span_id`` of the current span; nothing outside of one."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        return {"trace_id": trace.format_trace_id(context.trace_id), "span_id": trace.format_span_id(context.span_id)}


class ConnectionTracer:
    """Makes the spans of one connection, which has it as ``scope["trace"]``."""

    __slots__ = ("_is_answered", "_is_handled", "_link", "_scope", "_span", "_tracer")

    def __init__(self, tracer: trace.Tracer, scope: dict[str, Any]) -> None:
        self._tracer = tracer
        self._scope = scope
        #: None once the handshake is over: the connection may live for days.
        self._span: Span | None = tracer.start_span(
            "GET",
            context=propagate.extract(scope["headers"], context=Context(), getter=_HEADERS),
            kind=SpanKind.SERVER,
            attributes=_of_request(scope),
        )
        self._link = Link(self._span.get_span_context())
        self._is_handled = self._is_answered = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy of the scope, as middleware may make one, belongs to the same connection."""
        return self

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """In another process there is no connection to trace."""
        return type(None), ()

    def answering(self, send: Handler) -> Handler:
        """Return a ``send`` that notes the answer to the handshake."""

        async def traced(event: dict[str, Any]) -> None:
            if event["type"] == "websocket.accept":
                self._answered(SWITCHING_PROTOCOLS)
            elif event["type"] == "websocket.http.response.start":
                self._answered(int(event["status"]))
            elif event["type"] == "websocket.close":  # before the accept; the server makes it this status (ASGI)
                self._answered(FORBIDDEN)
            await send(event)

        return traced

    def events(self, handle: Handler) -> Handler:
        """Return a handler that runs ``websocket.connect`` within the handshake's span, and all else as it is."""

        async def traced(event: dict[str, Any]) -> None:
            if event["type"] != "websocket.connect" or self._span is None:
                await handle(event)
                return
            # The span is over when the handler is: that may go on after its accept, and fail.
            self._is_handled = True
            try:
                with _running(self._span, end=False):
                    await handle(event)
            finally:
                self._is_handled = False
                self._end_if_over()

        return traced

    def messages(self, handle: Handler) -> Handler:
        """Return a handler that runs each message of the client in a span, linked to the handshake's."""
        route = _route(self._scope)
        name, links, none = f"websocket.receive {route}", [self._link], Context()
        common = _messaging("websocket", "websocket.receive", "process", "websocket.receive") | {
            "messaging.destination.template": route,
            "network.protocol.name": "websocket",
            "network.io.direction": "receive",
        }

        async def traced(event: dict[str, Any]) -> None:
            attributes = common | _of_payload(event)
            span = self._tracer.start_span(
                name, context=none, kind=SpanKind.CONSUMER, links=links, attributes=attributes
            )
            with _running(span):
                await handle(event)

        return traced

    def mail(self, handle: Handler) -> Handler:
        """Return a handler that runs each channel-layer message in a span, a child of its sender's."""
        return _traced_mail(self._tracer, handle, [self._link])

    def end(self) -> None:
        """End the handshake's span, if that is still to be done: nobody has answered."""
        if self._span is not None:
            self._span.set_attribute("error.type", ABANDONED)
            self._span.end()
            self._span = None

    def _answered(self, status: int) -> None:
        if self._span is None or self._is_answered:
            return
        self._is_answered = True
        if "endpoint" in self._scope:
            route = _route(self._scope)
            self._span.update_name(f"GET {route}")
            self._span.set_attribute("http.route", route)
        self._span.set_attribute("http.response.status_code", status)
        if status >= SERVER_ERROR:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(Status(StatusCode.ERROR))
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._span is not None and self._is_answered and not self._is_handled:
            self._span.end()
            self._span = None


def _traced_mail(tracer: trace.Tracer, handle: Handler, links: Sequence[Link]) -> Handler:
    async def traced(message: dict[str, Any]) -> None:
        carrier: Carrier | None = getattr(message, "trace", None)
        if carrier is None:
            await handle(message)
            return
        context, kind = _extracted(carrier), str(message.get("type"))
        attributes = _messaging("channels", "process", "process", kind)
        span = tracer.start_span(
            f"process {kind}", context=context, kind=SpanKind.CONSUMER, links=links, attributes=attributes
        )
        with _running(span, context):
            await handle(message)

    return traced


@contextmanager
def _running(span: Span, context: Context | None = None, *, end: bool = True) -> Iterator[None]:
    """Make a span the current one, on top of ``context``, and note an error that passes."""
    token = attach(trace.set_span_in_context(span, context))
    try:
        yield
    except StopConsumer:  # the ordinary end of a consumer
        raise
    except Exception as error:
        text = redact(str(error))
        trail = redact("".join(traceback.format_exception(error)))
        span.record_exception(error, {"exception.message": text, "exception.stacktrace": trail})
        kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
        span.set_attribute("error.type", kind)
        span.set_status(Status(StatusCode.ERROR, text))
        raise
    finally:
        detach(token)
        if end:
            span.end()


def _extracted(carrier: Carrier | None) -> Context:
    return propagate.extract(carrier or {}, context=Context())


def _messaging(system: str, operation: str, kind: str, event: str) -> Attributes:
    """Return what every message has (semantic conventions for messaging)."""
    return {
        "messaging.system": system,
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
        "asgi.event.type": event,
    }


def _route(scope: Mapping[str, Any]) -> str:
    return f"/{scope.get('endpoint', '')}"


def _of_request(scope: Mapping[str, Any]) -> Attributes:
    """Return what a handshake says of itself (semantic conventions for HTTP servers); never its query."""
    attributes: Attributes = {
        "http.request.method": "GET",
        "url.path": scope["path"],
        "url.scheme": scope.get("scheme", "ws"),
        "network.protocol.version": scope.get("http_version", "1.1"),
    }
    if connection := CONNECTION_ID.get():
        attributes["websocket.connection.id"] = connection
    for name, address in (("client", scope.get("client")), ("server", scope.get("server"))):
        if address:
            attributes[f"{name}.address"] = address[0]
            if address[1] is not None:
                attributes[f"{name}.port"] = address[1]
    if agent := _HEADERS.get(scope["headers"], "user-agent"):
        attributes["user_agent.original"] = agent[0]
    return attributes


def _of_payload(event: Mapping[str, Any]) -> Attributes:
    text: str | None = event.get("text")
    if text is None:
        return {"websocket.message.type": "binary", "messaging.message.body.size": len(event["bytes"])}
    size = len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
    return {"websocket.message.type": "text", "messaging.message.body.size": size}
