"""``manage.py clienttypes``: an endpoint's messages as TypeScript types, for editors and static/realtime/client.js."""

from __future__ import annotations

from django.conf import settings
from django.core.management.base import CommandError

from realtime.engine.describe.endpoints import describe_endpoints
from realtime.engine.describe.schemas import typescript
from realtime.engine.handshake.router import websocket_urlpatterns
from realtime.engine.management.generated import GeneratedFileCommand

__all__ = ["Command"]


class Command(GeneratedFileCommand):
    """Writes the declarations, or compares them with the file."""

    help = "Write static/realtime/messages.d.ts, or fail with --check if it is not what the message structs say."
    path = "static/realtime/messages.d.ts"

    def content(self) -> str:
        """Return the declarations for the endpoint that ``settings.REALTIME_CLIENT_TYPES`` names."""
        path: str = settings.REALTIME_CLIENT_TYPES
        for endpoint in describe_endpoints(websocket_urlpatterns()):
            if endpoint.path == path:
                head = f"// Made from the messages of {path} by `manage.py clienttypes`. Do not edit.\n\n"
                return head + typescript(endpoint.client_messages, endpoint.server_messages)
        raise CommandError(f"settings.REALTIME_CLIENT_TYPES is {path!r}, which is the path of no endpoint.")
