"""What the endpoints are, read off the routes, the consumers and their policies.

The page at ``/``, the reference at ``/api/docs/`` and ``/asyncapi.json`` are made from these values, so that an
endpoint is described in one place: its own file.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
from django.conf import settings
from django.contrib.admindocs.utils import (
    remove_non_capturing_groups,
    replace_metacharacters,
    replace_named_groups,
    replace_unnamed_groups,
)
from django.urls import URLPattern
from django.urls.resolvers import RoutePattern
from django.utils.text import slugify

from realtime.engine.handshake.router import websocket_urlpatterns
from realtime.engine.protocol.policy import KIB, MIB, SocketPolicy

__all__ = [
    "Endpoint",
    "PolicyFact",
    "QueryParameter",
    "describe_endpoints",
    "policy_facts",
    "policy_fields",
    "policy_values",
]

#: ``<room>`` and ``<str:room>`` of a Django route.
_CONVERTER = re.compile(r"<(?:[^>:]+:)?([^>]+)>")

#: What a parameter is shown with where its type gives no example of its own.
_EXAMPLES: dict[str, Any] = {"integer": 7, "number": 1.5, "boolean": "true", "string": "ann"}

#: Sizes, so that they are shown in KiB and MiB.
_SIZE_FIELDS = frozenset({"max_message_size", "max_frame_size", "write_buffer_size", "max_write_buffer_size"})
_SECOND_FIELDS = frozenset({"ping_interval", "ping_timeout", "idle_timeout", "message_timeout", "close_timeout"})


@dataclass(frozen=True, slots=True)
class QueryParameter:
    """One parameter of an endpoint's query string.

    Args:
        name: as it stands in the address.
        schema: its JSON Schema.
        required: whether a handshake without it is refused.
        example: a value that is accepted.
    """

    name: str
    schema: Mapping[str, Any]
    required: bool
    example: Any


@dataclass(frozen=True, slots=True)
class PolicyFact:
    """One field of a policy as people read it.

    Args:
        field: name of the ``SocketPolicy`` field.
        value: its value with a unit.
        changed: whether it differs from the default.
    """

    field: str
    value: str
    changed: bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One WebSocket endpoint.

    Args:
        slug: identifies it in a page, made from its path.
        path: its path with parameters in braces, ``/ws/rooms/{room}``.
        consumer: the class that serves it.
        summary: the first line of the consumer's docstring.
        details: the rest of the docstring, in paragraphs.
        policy: the consumer's policy.
        authentication: ``none``, ``optional`` or ``required``.
        query: its query parameters.
        client_messages: union of the tagged structs that clients send; None where any text or binary message will do.
        server_messages: union of the tagged structs that the server sends, or None.
    """

    slug: str
    path: str
    consumer: type
    summary: str
    details: tuple[str, ...]
    policy: SocketPolicy
    authentication: str
    query: tuple[QueryParameter, ...]
    client_messages: Any = None
    server_messages: Any = None

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters in the path."""
        return re.findall(r"\{(\w+)\}", self.path)

    @property
    def example(self) -> str:
        """Path and query of a handshake that is accepted (a parameter of the path becomes ``lobby``)."""
        path = re.sub(r"\{\w+\}", "lobby", self.path)
        query = "&".join(f"{item.name}={item.example}" for item in self.query if item.required)
        return f"{path}?{query}" if query else path

    @property
    def source(self) -> str:
        """File of the consumer, relative to the project."""
        path = Path(inspect.getfile(self.consumer)).resolve()
        return str(path.relative_to(settings.BASE_DIR)) if path.is_relative_to(settings.BASE_DIR) else path.name


def describe_endpoints(routes: Iterable[URLPattern] | None = None) -> list[Endpoint]:
    """Return the endpoints of ``routes`` in their order; two routes to one consumer that differ in a slash are one.

    Args:
        routes: those of the project by default; a route whose application is no consumer is left out.
    """
    endpoints: dict[tuple[str, type], Endpoint] = {}
    for route in websocket_urlpatterns() if routes is None else routes:
        consumer = getattr(route.callback, "consumer_class", None)
        if consumer is None:
            continue
        path = _path_of(route)
        endpoints.setdefault((path, consumer), _describe(path, consumer))
    return list(endpoints.values())


def policy_facts(policy: SocketPolicy) -> list[PolicyFact]:
    """Return every field of ``policy`` in the order of its declaration."""
    defaults = SocketPolicy()
    return [
        PolicyFact(name, _readable(name, getattr(policy, name)), getattr(policy, name) != getattr(defaults, name))
        for name in (field.name for field in dataclasses.fields(policy))
    ]


def policy_values(policy: SocketPolicy) -> dict[str, Any]:
    """Return the fields of ``policy`` as JSON values; a predicate becomes its name."""
    values = {field.name: getattr(policy, field.name) for field in dataclasses.fields(policy)}
    return {
        name: getattr(value, "__name__", "predicate") if callable(value) else value for name, value in values.items()
    }


def policy_fields() -> dict[str, str]:
    """Return what each field of ``SocketPolicy`` means, from its docstring."""
    arguments = inspect.cleandoc(SocketPolicy.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
    fields = re.findall(r"^    (\w+): (.+(?:\n        .+)*)", arguments, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text).replace("``", "") for name, text in fields}


def _path_of(route: URLPattern) -> str:
    text = str(route.pattern)
    if not isinstance(route.pattern, RoutePattern):
        text = replace_unnamed_groups(replace_named_groups(remove_non_capturing_groups(text)))
        text = replace_metacharacters(text)
    return "/" + _CONVERTER.sub(r"{\1}", text).strip("/")


def _describe(path: str, consumer: type) -> Endpoint:
    summary, _, details = inspect.cleandoc(consumer.__doc__ or "").partition("\n")
    return Endpoint(
        slug=slugify(path.replace("/", " ")),
        path=path,
        consumer=consumer,
        summary=summary,
        details=tuple(" ".join(part.split()) for part in details.strip().split("\n\n") if part.strip()),
        policy=getattr(consumer, "policy", None) or SocketPolicy(),
        authentication=getattr(consumer, "authentication", "none"),
        query=tuple(_query_parameters(getattr(consumer, "query_type", None))),
        client_messages=getattr(consumer, "client_messages", None),
        server_messages=getattr(consumer, "server_messages", None),
    )


def _query_parameters(query_type: type[msgspec.Struct] | None) -> Iterable[QueryParameter]:
    if query_type is None:
        return
    [schema], components = msgspec.json.schema_components([query_type])
    if "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    for name, property_schema in schema.get("properties", {}).items():
        examples = property_schema.get("examples") or [_EXAMPLES.get(property_schema.get("type", ""), "1")]
        yield QueryParameter(name, property_schema, name in schema.get("required", ()), examples[0])


def _readable(field: str, value: Any) -> str:
    if value is None:
        return "the host itself and ALLOWED_HOSTS" if field == "allowed_origins" else "none"
    if callable(value):
        return cast(str, getattr(value, "__name__", "a predicate"))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    if field in _SIZE_FIELDS:
        return _readable_size(value)
    if field in _SECOND_FIELDS:
        return f"{value:g} s"
    return f"{value:g}"


def _readable_size(size: int) -> str:
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size:,} bytes"
