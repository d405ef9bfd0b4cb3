"""How the HTTP API reads a body, and how it reports errors; ``settings.REST_FRAMEWORK`` names both."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from django.db import DataError
from rest_framework import parsers, views
from rest_framework.exceptions import ParseError
from rest_framework.response import Response
from rest_framework.settings import api_settings

from realtime.engine.protocol.http import CONTENT_TYPE

__all__ = ["JSONParser", "exception_handler"]

#: Arrays and objects within each other. No request of this API has more than two; far more is an attack on recursion.
MAX_DEPTH = 32


class JSONParser(parsers.JSONParser):
    """Reads JSON in UTF-8 (RFC 8259, 8.1), without half surrogate pairs, and not nested deeply."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """Return the value of a body; raise ``ParseError`` if it is not JSON, or nested too deeply."""
        try:
            value = msgspec.json.decode(stream.read())
            is_deep = _is_deep(value, MAX_DEPTH)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ParseError(f"Not valid JSON: {error}.") from None
        except RecursionError:
            is_deep = True
        if is_deep:
            raise ParseError(f"The JSON is nested more than {MAX_DEPTH} deep.")
        return value


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return a problem (RFC 9457) for an exception of REST framework or Django, None for others.

    ``errors`` has the messages by field. What an exception says beside its ``detail``, like a ``code``, is kept.
    """
    if isinstance(error, DataError):  # U+0000 on PostgreSQL, an integer that is out of its range
        error = ParseError("The request has a value that the database can neither store nor look for.")
    response = views.exception_handler(error, context)
    if response is not None:
        title = HTTPStatus(response.status_code).phrase
        response.data = {"title": title, "status": response.status_code, **_explain(response.data)}
        response.content_type = CONTENT_TYPE
    return response


def _is_deep(value: Any, allowed: int) -> bool:
    children = _children(value)
    return any(_is_deep(child, allowed - 1) for child in children) if allowed else bool(children)


def _children(value: Any) -> Collection[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _explain(data: Any) -> dict[str, Any]:
    if isinstance(data, dict) and isinstance(data.get("detail"), str):
        return data
    errors = data if isinstance(data, dict) else {api_settings.NON_FIELD_ERRORS_KEY: data}
    return {"detail": " ".join(f"{name}: {_first(messages)}" for name, messages in errors.items()), "errors": errors}


def _first(messages: Any) -> str:
    while isinstance(messages, (dict, list)):
        messages = next(iter(_children(messages)), "")
    return str(messages)
