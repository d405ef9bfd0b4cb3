"""What the HTTP API's schema (OpenAPI) says of every operation; ``settings.REST_FRAMEWORK`` names the class."""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent

from realtime.engine.protocol.http import CONTENT_TYPE

__all__ = ["Schema"]

#: The body of every refusal, as ``realtime.engine.rest.exceptions.exception_handler`` makes it.
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "Why a request was refused (RFC 9457).",
    "required": ["title", "status", "detail"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "object", "description": "The messages by field.", "additionalProperties": True},
    },
}

_FIRST_SENTENCE = re.compile(r".*?(?=[.;:](?:\s|$)|$)", re.DOTALL)


class Schema(AutoSchema):
    """Gives each operation a summary, its security, and its refusals."""

    def get_summary(self) -> str | None:
        """Return the first sentence of the description."""
        found = _FIRST_SENTENCE.match(self.get_description())
        return " ".join(found[0].split()) if found else None

    def get_auth(self) -> list[dict[str, Any]]:
        """Return how to authenticate; an empty requirement where nobody has to."""
        return super().get_auth() or [{}]

    def get_operation(self, *args: Any, **options: Any) -> dict[str, Any] | None:
        """Return the operation, with what a refusal of it looks like."""
        operation: dict[str, Any] | None = super().get_operation(*args, **options)
        if operation is not None:
            operation["responses"].setdefault("4XX", self._refusal())
        return operation

    def _refusal(self) -> dict[str, Any]:
        component = ResolvedComponent("Problem", ResolvedComponent.SCHEMA, schema=_PROBLEM, object=Schema)
        self.registry.register_on_missing(component)
        return {"description": "The request was refused.", "content": {CONTENT_TYPE: {"schema": component.ref}}}
