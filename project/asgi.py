"""The composition root: every connection of the project starts here."""

import gc
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from channels.routing import ProtocolTypeRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import get_resolver

django_application = get_asgi_application()  # loads the apps, which the imports below need

from realtime.engine import SocketRouter, UpgradeRequired
from realtime.engine.connections.reporter import report_connections
from realtime.engine.handshake.router import BodyLimit, websocket_urlpatterns
from realtime.engine.monitoring.tracing import trace_handshakes

report_connections()
sockets = SocketRouter(websocket_urlpatterns())

application = ProtocolTypeRouter(
    {
        "http": BodyLimit(UpgradeRequired(django_application, sockets), settings.REALTIME_MAX_REQUEST_BODY),
        "websocket": trace_handshakes(sockets),
    }
)

# Import every view now: on the first request, while it is done, all sockets would wait.
get_resolver().url_patterns  # noqa: B018

# What is loaded now lives as long as the process. A full collection that looked at all of it would hold up every socket
# for a tenth of a second, and there is one for each quarter more connections.
gc.collect()
gc.freeze()
