"""The query string of a handshake, parsed into a struct before the upgrade."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from realtime.engine.protocol.errors import HandshakeRejected

Query = TypeVar("Query", bound=msgspec.Struct)

#: More parameters than this in one query string is an attack on the parser, not a request.
MAX_QUERY_PARAMETERS = 100

_INTEGER = re.compile(r"-?[0-9]+")
_MISSING = re.compile(r"missing required field `([^`]+)`")
_EXPECTED_INTEGER = "expected an integer in decimal digits"
_AT = re.compile(r" - at `\$\.([^`]+)`$")


def parse_query(scope: Mapping[str, Any], query_type: type[Query]) -> Query:
    """Return the query string of an ASGI scope as a struct, without the parameters that the struct does not name.

    Raises:
        HandshakeRejected: 400; the detail names the parameter that is missing, malformed or given twice.
    """
    values = _query_values(scope["query_string"])
    try:
        query = msgspec.convert(values, query_type, strict=False)
    except msgspec.ValidationError as error:
        raise HandshakeRejected(400, _query_detail(str(error))) from None
    for field in msgspec.structs.fields(query_type):
        name = field.encode_name
        # msgspec's lax mode takes "7.0" and "1e1" for integers too.
        if name in values and type(getattr(query, field.name)) is int and not _INTEGER.fullmatch(values[name]):
            raise HandshakeRejected(400, f"Query parameter {name!r}: {_EXPECTED_INTEGER}.")
    return query


def _query_values(query_string: bytes) -> dict[str, str]:
    try:
        text = query_string.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_PARAMETERS)
    except UnicodeDecodeError:
        raise HandshakeRejected(400, "The query string is not percent-encoded UTF-8.") from None
    except ValueError:
        raise HandshakeRejected(400, f"The query string has more than {MAX_QUERY_PARAMETERS} parameters.") from None
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise HandshakeRejected(400, f"Query parameter {name[:64]!r} is given more than once.")
        values[name] = value
    return values


def _query_detail(message: str) -> str:
    """Turn msgspec's words into a sentence that names the parameter."""
    if missing := _MISSING.search(message):
        return f"Query parameter {missing[1]!r} is missing."
    if at := _AT.search(message):
        problem = message[: at.start()]
        if problem == "Expected `int`, got `str`":
            return f"Query parameter {at[1]!r}: {_EXPECTED_INTEGER}."
        return f"Query parameter {at[1]!r}: {problem[:1].lower()}{problem[1:]}."
    return f"Query string: {message}."
