"""What a generated client has to know of an endpoint, whatever its language."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from realtime.engine.describe.endpoints import Endpoint
from realtime.engine.describe.schemas import MessageType, Schemas, members_of, referred_names
from realtime.engine.protocol.close import CloseCode

__all__ = ["ClientModule", "TopicNames", "client_modules"]

#: The subprotocol of JSON messages; the generated clients speak no other form of typed messages.
_JSON = "json"

#: Modules of the runtime, which stand beside those of the consumers; in TypeScript and in Python.
_RUNTIME = frozenset({"connection", "description", "handshake", "ticket", "topics", "typed"})


@dataclass(frozen=True, slots=True)
class TopicNames:
    """The messages by which a client enters a topic, is let in, and resumes.

    Args:
        key: the field that names the topic.
        joined: name of the struct that lets the client in.
        item: name of the struct of the topic's numbered messages.
        seen: names of the answers that carry such a number.
    """

    key: str
    joined: str
    item: str
    seen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClientModule:
    """The client of one consumer.

    Args:
        name: of the module, ``stock_ticker`` for ``StockTickerConsumer``.
        class_name: of the client, ``StockTickerSocket``.
        endpoint: the first of the endpoints of the consumer.
        paths: the paths of all of them.
        schemas: the types of the messages.
        sent: what a client sends.
        received: what the server sends.
        replies: names of the answers to a message, by its name.
        topics: how a client enters topics; None where it does not.
    """

    name: str
    class_name: str
    endpoint: Endpoint
    paths: tuple[str, ...]
    schemas: Schemas
    sent: tuple[MessageType, ...]
    received: tuple[MessageType, ...]
    replies: Mapping[str, tuple[str, ...]]
    topics: TopicNames | None

    @property
    def messages(self) -> dict[str, MessageType]:
        """The messages of both directions by their names."""
        return {message.name: message for message in (*self.sent, *self.received)}

    @property
    def subprotocols(self) -> list[str]:
        """What the client offers: JSON, where the policy lists it."""
        return [_JSON] if _JSON in self.endpoint.policy.subprotocols else []

    @property
    def unreferenced(self) -> list[str]:
        """Names of the answers that do not repeat the client's ``ref``."""
        answers = dict.fromkeys(answer for answers in self.replies.values() for answer in answers)
        return [name for name in answers if not self.messages[name].has_ref]

    @property
    def ping(self) -> str | None:
        """Name of the message that asks a silent server for a sign of life: a ``Ping`` that is answered."""
        found = (each for each in self.sent if each.tag == "Ping" and each.name in self.replies)
        return next((each.name for each in found if not any(field.required for field in each.fields)), None)

    @property
    def written(self) -> frozenset[str]:
        """Names of the types that a client writes, of messages and of what their fields hold."""
        return referred_names(self.schemas.components, [message.name for message in self.sent])

    @property
    def close_codes(self) -> dict[int, str]:
        """The advice of each close code."""
        return {code.value: code.advice.value for code in CloseCode}


def client_modules(endpoints: Iterable[Endpoint]) -> list[ClientModule]:
    """Return a client for each consumer whose messages are structs.

    Args:
        endpoints: in the order of the routes.

    Raises:
        ValueError: if two consumers would have the same module.
    """
    by_consumer: dict[type, list[Endpoint]] = {}
    for endpoint in endpoints:
        if endpoint.client_messages is not None or endpoint.server_messages is not None:
            by_consumer.setdefault(endpoint.consumer, []).append(endpoint)
    modules: dict[str, ClientModule] = {}
    for consumer, group in by_consumer.items():
        module = _client_module(consumer.__name__.removesuffix("Consumer"), group)
        if module.name in modules:
            raise ValueError(f"two consumers are called {consumer.__name__}: give one of them another name")
        modules[module.name] = module
    return list(modules.values())


def _client_module(name: str, endpoints: list[Endpoint]) -> ClientModule:
    endpoint = endpoints[0]
    sent, received = members_of(endpoint.client_messages), members_of(endpoint.server_messages)
    schemas = Schemas((*sent, *received), with_ref=endpoint.with_ref, reserved=[f"{name}Socket", f"{name}Query"])
    replies = {
        schemas.name(struct): tuple(schemas.name(answer) for answer in answers)
        for struct, answers in endpoint.replies.items()
        if answers and schemas.describe(struct).has_ref
    }
    messages = [schemas.describe(struct) for struct in sent], [schemas.describe(struct) for struct in received]
    module = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return ClientModule(
        name=f"{module}_socket" if module in _RUNTIME else module,
        class_name=f"{name}Socket",
        endpoint=endpoint,
        paths=tuple(each.path for each in endpoints),
        schemas=schemas,
        sent=tuple(messages[0]),
        received=tuple(messages[1]),
        replies=replies,
        topics=_topics(*messages, replies),
    )


def _topics(
    sent: list[MessageType], received: list[MessageType], replies: Mapping[str, tuple[str, ...]]
) -> TopicNames | None:
    """Find ``Join`` with ``since``, the ``Joined`` that answers it, and the numbered messages that this one holds."""
    join = next((message for message in sent if message.tag == "Join" and "since" in _names(message)), None)
    joined = next((message for message in received if message.tag == "Joined"), None)
    if join is None or joined is None or not {"epoch", "seq", "recovered", "messages"} <= _names(joined):
        return None
    [held] = [field for field in joined.fields if field.name == "messages"]
    item = next((each for each in received if f"{each.name}[]" == held.type and "seq" in _names(each)), None)
    keys = [field.name for field in join.fields if field.required and field.name in _names(joined)]
    if item is None or len(keys) != 1 or keys[0] not in _names(item):
        return None
    answers = {answer for answers in replies.values() for answer in answers}
    seen = [each.name for each in received if each.name in answers and {keys[0], "seq"} <= _names(each)]
    return TopicNames(keys[0], joined.name, item.name, tuple(name for name in seen if name != joined.name))


def _names(message: MessageType) -> set[str]:
    return {field.name for field in message.fields}
