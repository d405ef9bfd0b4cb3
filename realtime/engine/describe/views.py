"""``/asyncapi.json``: the WebSocket API for programs."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from realtime.engine.describe.asyncapi import asyncapi_document
from realtime.engine.describe.endpoints import describe_endpoints

__all__ = ["asyncapi_json"]


@require_safe
def asyncapi_json(request: HttpRequest) -> JsonResponse:
    """Answer with the AsyncAPI document, for the host of the request."""
    document = asyncapi_document(
        describe_endpoints(),
        host=request.get_host(),
        protocol="wss" if request.is_secure() else "ws",
    )
    return JsonResponse(document, json_dumps_params={"ensure_ascii": False})
