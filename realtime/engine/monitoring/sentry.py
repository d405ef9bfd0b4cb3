"""Sends errors to Sentry, without personal data, where ``SENTRY_DSN`` says so (docs/operations.md).

An event has no header but the method and the address, no query, no body, no local variable: these hold tokens, cookies
and messages.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.django import DjangoIntegration

from realtime.engine.monitoring.logs import CONNECTION_ID, redact, without_query

__all__ = ["SentryMiddleware", "start"]

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


def start(dsn: str, environment: str, traces_sample_rate: float) -> None:
    """Send errors of views, consumers and commands, and what is logged as an error.

    Args:
        dsn: the address of the project at Sentry, with its key.
        environment: such as ``production``.
        traces_sample_rate: the share of HTTP requests, from 0 to 1, whose times are sent too.
    """
    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        traces_sample_rate=traces_sample_rate or None,
        integrations=[DjangoIntegration()],
        auto_enabling_integrations=False,  # that of Redis would note every command
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        before_send=scrub,
        before_send_transaction=scrub,
    )


def scrub(event: Any, hint: Any) -> Any:
    """Return an event without what a request has brought along, and without secrets in its texts."""
    if "request" in event:
        request = event["request"]
        event["request"] = {"method": request.get("method"), "url": redact(without_query(request.get("url", "")))}
    texts = [event.get("logentry") or {}]
    for group in ("exception", "breadcrumbs"):
        texts += (event.get(group) or {}).get("values") or ()
    for text in texts:
        for name in ("value", "message", "formatted"):
            if isinstance(text.get(name), str):
                text[name] = redact(text[name])
    return event


class SentryMiddleware:
    """Gives each WebSocket events of its own, named after its route; HTTP has that from Sentry's part for Django.

    Args:
        application: the ASGI application of the project.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Run the application; an exception that leaves it is sent, and raised for the server to log."""
        if scope["type"] != "websocket":
            await self._application(scope, receive, send)
            return

        def describe(event: Any, hint: Any) -> Any:
            event["transaction"] = f"/{scope['endpoint']}" if "endpoint" in scope else scope["path"]
            event.setdefault("tags", {}).update(path=scope["path"], connection=CONNECTION_ID.get())
            return event

        with sentry_sdk.isolation_scope() as connection:
            connection.clear_breadcrumbs()
            connection.add_event_processor(describe)
            try:
                await self._application(scope, receive, send)
            except Exception as error:
                sentry_sdk.capture_exception(error)
                raise
