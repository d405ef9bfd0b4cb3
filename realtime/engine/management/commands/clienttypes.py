"""``manage.py clienttypes``: an endpoint's messages as TypeScript types, for editors and scripts."""

from __future__ import annotations

from django.conf import settings
from django.core.management.base import CommandError

from realtime.engine.describe.endpoints import describe_endpoints
from realtime.engine.describe.schemas import typescript
from realtime.engine.management.generated import GeneratedFileCommand

__all__ = ["Command"]


class Command(GeneratedFileCommand):
    """Writes the declarations, or compares them with the file."""

    help = "Write the endpoint's messages.d.ts, or fail with --check if it is not what the message structs say."
    path = settings.REALTIME_CLIENT_TYPES["file"]

    def content(self) -> str:
        """Return the declarations for the endpoint in ``settings.REALTIME_CLIENT_TYPES``."""
        path = settings.REALTIME_CLIENT_TYPES["endpoint"]
        for endpoint in describe_endpoints():
            if endpoint.path == path:
                head = f"// Made from the messages of {path} by `manage.py clienttypes`. Do not edit.\n\n"
                return head + typescript(endpoint.client_messages, endpoint.server_messages)
        raise CommandError(f"settings.REALTIME_CLIENT_TYPES: no endpoint has the path {path!r}.")
