"""``manage.py asyncapi``: the description of the WebSocket API as a file, or a check that the file is up to date."""

from __future__ import annotations

import json

from realtime.engine.describe.asyncapi import asyncapi_document
from realtime.engine.describe.endpoints import describe_endpoints
from realtime.engine.management.generated import GeneratedFileCommand

__all__ = ["Command"]

#: The committed file describes the server that ``make run`` starts.
_HOST = "127.0.0.1:8000"


class Command(GeneratedFileCommand):
    """Writes the AsyncAPI document, or compares it with the file."""

    help = "Write docs/asyncapi.json, or fail with --check if it is not what routes, policies and messages say."
    path = "docs/asyncapi.json"

    def content(self) -> str:
        """Return the document as JSON."""
        document = asyncapi_document(describe_endpoints(), host=_HOST, protocol="ws")
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
