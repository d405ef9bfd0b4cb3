"""System checks: ``manage.py check`` reports wrong use before a client meets it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core import checks
from django.urls import URLPattern
from django.urls.exceptions import Resolver404

from realtime.engine.handshake.router import websocket_urlpatterns
from realtime.engine.protocol.errors import DeclarationError
from realtime.engine.protocol.policy import SocketPolicy

#: A value that each of Django's path converters matches, to try one route's path on another.
SAMPLE_VALUES = {
    "int": "7",
    "str": "sample",
    "slug": "sample",
    "path": "sample",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


@checks.register("realtime")
def check_policies(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Every consumer of ours states its limits as a ``SocketPolicy``."""
    return [
        checks.Error(
            f"{consumer.__name__}.policy is a {type(consumer.policy).__name__}, not a SocketPolicy.",
            hint="Write 'policy = SocketPolicy(max_message_size=..., ...)' in the class body.",
            obj=consumer,
            id="realtime.E001",
        )
        for _, consumer, _ in _routes()
        if hasattr(consumer, "policy") and not isinstance(consumer.policy, SocketPolicy)
    ]


@checks.register("realtime")
def check_messages(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """The handlers of every endpoint are declared so that they work."""
    try:
        websocket_urlpatterns()
    except DeclarationError as error:
        hint = "The text names the class and the method; docs/typed-messages.md shows what a handler looks like."
        return [checks.Error(str(error), hint=hint, id="realtime.E004")]
    return []


@checks.register("realtime")
def check_msgpack(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """The channel layer can carry what ``broadcast_typed`` sends to members that speak msgpack."""
    return [
        checks.Error(
            f"{consumer.__name__} ({path}) lists the subprotocol 'msgpack', and the channel layer "
            f"{consumer.channel_layer_alias!r} writes JSON, which cannot hold bytes: broadcast_typed() would fail.",
            hint="Leave 'serializer_format' out of the layer's CONFIG, or 'msgpack' out of the policy's subprotocols.",
            obj=consumer,
            id="realtime.E005",
        )
        for path, consumer, _ in _routes()
        if getattr(consumer, "message_handlers", None) is not None
        and isinstance(consumer.policy, SocketPolicy)
        and "msgpack" in consumer.policy.subprotocols
        and _serializer(consumer.channel_layer_alias) == "json"
    ]


@checks.register("realtime")
def check_routes(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """No route is hidden by an earlier one."""
    messages: list[checks.CheckMessage] = []
    routes = list(_routes())
    for index, (path, consumer, pattern) in enumerate(routes):
        sample = _sample_path(pattern)
        earlier_path = next((other for other, _, earlier in routes[:index] if _matches(earlier, sample)), None)
        if earlier_path is not None:
            messages.append(
                checks.Error(
                    f"The WebSocket route {path!r} can never be reached: {earlier_path!r} stands before it "
                    f"and matches {sample!r} too.",
                    hint="Put the more specific route first.",
                    obj=consumer,
                    id="realtime.E003",
                )
            )
    return messages


@checks.register("realtime")
def check_processes(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Several processes need Redis: without it each has groups, tickets and limits of its own."""
    if settings.WEB_CONCURRENCY <= 1 or settings.REDIS_URL:
        return []
    return [
        checks.Error(
            f"WEB_CONCURRENCY={settings.WEB_CONCURRENCY} processes, but no REDIS_URL: a broadcast would reach only "
            "the clients of one process, and a one-time ticket could be used once in each.",
            hint="Set REDIS_URL=redis://host:6379/0, or run one process.",
            id="realtime.E002",
        )
    ]


@checks.register("realtime", deploy=True)
def check_deployment(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """No endpoint goes to production with the generous default sizes."""
    return [
        checks.Warning(
            f"{consumer.__name__} ({path}) leaves max_message_size and max_frame_size at their defaults of 64 and "
            "16 MiB: any client may make the server hold that much for each connection.",
            hint="State what the endpoint needs: policy = SocketPolicy(max_message_size=64 * KIB, ...).",
            obj=consumer,
            id="realtime.W003",
        )
        for path, consumer, _ in _routes()
        if isinstance(getattr(consumer, "policy", None), SocketPolicy) and consumer.policy.has_default_sizes
    ]


def _routes() -> Iterator[tuple[str, Any, URLPattern]]:
    """Yield path, consumer class (or application) and pattern of every WebSocket route."""
    try:
        patterns = websocket_urlpatterns()
    except DeclarationError:
        return  # check_messages reports it
    for pattern in patterns:
        application = pattern.callback
        yield str(pattern.pattern), getattr(application, "consumer_class", application), pattern


def _serializer(alias: str) -> Any:
    """Return the format in which a channel layer of the settings writes messages; None for its default."""
    return settings.CHANNEL_LAYERS.get(alias, {}).get("CONFIG", {}).get("serializer_format")


def _sample_path(pattern: URLPattern) -> str | None:
    """Return a path that ``pattern`` matches; None for a regular expression, which cannot be turned round."""
    route = getattr(pattern.pattern, "_route", None)
    if route is None:
        return None
    for name, converter in pattern.pattern.converters.items():
        kind = type(converter).__name__.removesuffix("Converter").lower()
        for spelling in (f"<{kind}:{name}>", f"<{name}>"):
            route = route.replace(spelling, SAMPLE_VALUES.get(kind, "sample"))
    return str(route)


def _matches(pattern: URLPattern, path: str | None) -> bool:
    try:
        return path is not None and pattern.pattern.match(path) is not None
    except Resolver404:
        return False
