"""What the endpoints are, read off the routes, the consumers and their policies.

The page at ``/``, the reference at ``/api/docs/`` and ``/asyncapi.json`` are made from these values, so that an
endpoint is described in one place: its own file.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.admindocs.views import simplify_regex
from django.urls import URLPattern
from django.utils.text import slugify

from realtime.engine.consumers.handlers import HandlerTable
from realtime.engine.describe.schemas import Field, MessageType, Schemas, describe_messages, members_of
from realtime.engine.handshake.router import websocket_urlpatterns
from realtime.engine.protocol.policy import KIB, MIB, SocketPolicy
from realtime.engine.typed.wire import MessageAck, MessageError, tag_of

__all__ = ["Endpoint", "PolicyFact", "describe_endpoints", "policy_facts", "policy_fields", "policy_values"]

#: ``<room>`` and ``<str:room>`` of a Django route.
_CONVERTER = re.compile(r"<(?:[^>:]+:)?([^>]+)>")


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
        client_messages: the structs that clients send, a union or a list of them; None where any text or binary message
            will do. Those of a consumer with ``@on_message`` are what its handlers take.
        server_messages: the structs that the server sends, or None. Those of a consumer with ``@on_message`` are what
            its handlers return, what its ``server_messages`` states, and the engine's ``Ack`` and ``Error``.
        replies: the structs that answer a client's message, by the struct of that message. A consumer without handlers
            may state them: ``replies = {Post: Ack}``.
        with_ref: the structs that a ``ref`` stands beside on the wire, which needs no field in the struct.
    """

    slug: str
    path: str
    consumer: type
    summary: str
    details: tuple[str, ...]
    policy: SocketPolicy
    authentication: str
    query: tuple[Field, ...]
    client_messages: Any = None
    server_messages: Any = None
    replies: Mapping[Any, tuple[Any, ...]] = field(default_factory=dict)
    with_ref: frozenset[Any] = frozenset()

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

    @property
    def facts(self) -> list[PolicyFact]:
        """Every field of its policy."""
        return policy_facts(self.policy)

    @property
    def protocol(self) -> str:
        """Identifies its messages in a page: the paths to one consumer share them. Empty where it has none."""
        if self.client_messages is None and self.server_messages is None:
            return ""
        return f"messages-of-{self.consumer.__name__.removesuffix('Consumer').lower()}"

    @property
    def received(self) -> list[MessageType]:
        """What clients send, by type; empty where any text or binary message will do."""
        return describe_messages(self.client_messages, with_ref=self.with_ref)

    @property
    def sent(self) -> list[MessageType]:
        """What the server sends, by type."""
        return describe_messages(self.server_messages, with_ref=self.with_ref)

    @property
    def error(self) -> Any:
        """The struct that says that a message had no effect; None if the server sends none with the tag ``Error``."""
        return next((struct for struct in members_of(self.server_messages) if tag_of(struct) == "Error"), None)


def describe_endpoints(routes: Iterable[URLPattern] | None = None) -> list[Endpoint]:
    """Return the endpoints of ``routes`` in their order; two routes to one consumer that differ in a slash are one.

    Args:
        routes: the project's by default; a route whose application is no consumer is left out.
    """
    endpoints: dict[tuple[str, type], Endpoint] = {}
    for route in websocket_urlpatterns() if routes is None else routes:
        consumer = getattr(route.callback, "consumer_class", None)
        if consumer is not None:
            path = "/" + _CONVERTER.sub(r"{\1}", simplify_regex(str(route.pattern))).strip("/")
            endpoints.setdefault((path, consumer), _describe(path, consumer))
    return list(endpoints.values())


def policy_facts(policy: SocketPolicy) -> list[PolicyFact]:
    """Return every field of ``policy`` in the order of its declaration."""
    defaults = policy_values(SocketPolicy())
    values = policy_values(policy)
    return [PolicyFact(name, _readable(name, value), value != defaults[name]) for name, value in values.items()]


def policy_values(policy: SocketPolicy) -> dict[str, Any]:
    """Return the fields of ``policy`` as JSON values; a predicate becomes its name."""
    values = dataclasses.asdict(policy)
    return {
        name: getattr(value, "__name__", "predicate") if callable(value) else value for name, value in values.items()
    }


def policy_fields() -> dict[str, str]:
    """Return what each field of ``SocketPolicy`` means, from its docstring."""
    arguments = inspect.cleandoc(SocketPolicy.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
    fields = re.findall(r"^    (\w+): (.+(?:\n        .+)*)", arguments, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text).replace("``", "") for name, text in fields}


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
        query=_query(getattr(consumer, "query_type", None)),
        **_messages(consumer),
    )


def _query(query_type: Any) -> tuple[Field, ...]:
    if query_type is None:
        return ()
    return Schemas([query_type], tagged=False).describe(query_type).fields


def _messages(consumer: Any) -> dict[str, Any]:
    """Return what of an endpoint is about messages: read from its handlers, or as its class states it."""
    stated = getattr(consumer, "server_messages", None)
    table: HandlerTable | None = getattr(consumer, "message_handlers", None)
    if table is None:
        replies = getattr(consumer, "replies", {})
        return {
            "client_messages": getattr(consumer, "client_messages", None),
            "server_messages": stated,
            "replies": {struct: members_of(answers) for struct, answers in replies.items()},
        }
    # What the class states itself comes last: of two structs with one tag it is the one that is sent.
    acknowledgements = [MessageAck] if table.acknowledges else []
    sent = {tag_of(struct): struct for struct in [MessageError, *acknowledgements, *table.replies, *members_of(stated)]}
    answers = {
        struct: tuple(
            sent[tag_of(reply)] for reply in [*handler.replies, *([MessageAck] if handler.may_return_none else [])]
        )
        for struct, handler in table.by_message.items()
    }
    return {
        "client_messages": table.messages,
        "server_messages": list(sent.values()),
        "replies": answers,
        "with_ref": frozenset([*table.messages, *table.replies]),
    }


def _readable(field: str, value: Any) -> str:
    match value:
        case None:
            return "the host itself and ALLOWED_HOSTS" if field == "allowed_origins" else "none"
        case bool():
            return "yes" if value else "no"
        case tuple():
            return ", ".join(value) or "none"
        case str():
            return value
    if field.endswith("_size"):
        return _readable_size(value)
    return f"{value:g} s" if field.endswith(("_interval", "_timeout")) else f"{value:g}"


def _readable_size(size: int) -> str:
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size:,} bytes"
