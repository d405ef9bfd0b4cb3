"""The ASGI application of a project: HTTP to Django, WebSockets to the routes of ``REALTIME_ROUTING``."""

from __future__ import annotations

import gc
from typing import Any

from django.conf import settings
from django.core import asgi


def get_asgi_application() -> Any:
    """Load the apps, the routes and the views, and return the application for the server."""
    http = asgi.get_asgi_application()  # loads the apps, which the imports below need

    from channels.routing import ProtocolTypeRouter
    from django.urls import get_resolver

    from realtime.engine.connections.reporter import reporter
    from realtime.engine.handshake.router import BodyLimit, SocketRouter, UpgradeRequired, websocket_urlpatterns
    from realtime.engine.monitoring.tracing import trace_handshakes

    reporter.start()
    sockets = SocketRouter(websocket_urlpatterns())
    application = ProtocolTypeRouter(
        {
            "http": BodyLimit(UpgradeRequired(http, sockets), settings.REALTIME_MAX_REQUEST_BODY),
            "websocket": trace_handshakes(sockets),
        }
    )
    # Imports every view now. On the first request, all sockets would wait for it.
    get_resolver().url_patterns  # noqa: B018
    # What is loaded now lives as long as the process. A full collection that visits all of it would hold up every
    # socket for a tenth of a second.
    gc.collect()
    gc.freeze()
    return application
