"""The engine: policies, the server that enforces them, fan-out, authentication. Its owner never edits this folder.

The names below are what a project uses. Each is imported at its first use: some of them need Django's app
registry, and settings import this package before it is ready.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realtime.engine.auth.anonymous import AnonymousCookie as AnonymousCookie
    from realtime.engine.auth.anonymous import anonymous_identity as anonymous_identity
    from realtime.engine.auth.authentication import Authentication as Authentication
    from realtime.engine.auth.authentication import verify_access_token as verify_access_token
    from realtime.engine.auth.backends import TooManyAttempts as TooManyAttempts
    from realtime.engine.auth.backends import limit_requests as limit_requests
    from realtime.engine.auth.sessions import log_out_everywhere as log_out_everywhere
    from realtime.engine.connections.admin import LiveUserMixin as LiveUserMixin
    from realtime.engine.connections.models import LiveConnection as LiveConnection
    from realtime.engine.consumers.consumer import PolicyConsumer as PolicyConsumer
    from realtime.engine.consumers.handlers import on_message as on_message
    from realtime.engine.consumers.mailbox import ConsumerMailbox as ConsumerMailbox
    from realtime.engine.consumers.rates import MessageRate as MessageRate
    from realtime.engine.handshake.addresses import network_of as network_of
    from realtime.engine.handshake.addresses import request_address as request_address
    from realtime.engine.handshake.router import SocketRouter as SocketRouter
    from realtime.engine.handshake.router import UpgradeRequired as UpgradeRequired
    from realtime.engine.layer import FanoutChannelLayer as FanoutChannelLayer
    from realtime.engine.protocol.close import Advice as Advice
    from realtime.engine.protocol.close import CloseCode as CloseCode
    from realtime.engine.protocol.close import close_codes as close_codes
    from realtime.engine.protocol.errors import DeclarationError as DeclarationError
    from realtime.engine.protocol.errors import HandshakeRejected as HandshakeRejected
    from realtime.engine.protocol.errors import InvalidMessage as InvalidMessage
    from realtime.engine.protocol.errors import MessageRefused as MessageRefused
    from realtime.engine.protocol.errors import TokenRejected as TokenRejected
    from realtime.engine.protocol.messages import Message as Message
    from realtime.engine.protocol.messages import SharedMessage as SharedMessage
    from realtime.engine.protocol.policy import KIB as KIB
    from realtime.engine.protocol.policy import MIB as MIB
    from realtime.engine.protocol.policy import SocketPolicy as SocketPolicy
    from realtime.engine.services.cache import limit_cache as limit_cache
    from realtime.engine.services.database import DatabaseThreads as DatabaseThreads
    from realtime.engine.services.database import in_monitor_thread as in_monitor_thread
    from realtime.engine.topics.consumer import TopicConsumer as TopicConsumer
    from realtime.engine.topics.database import DatabaseStore as DatabaseStore
    from realtime.engine.topics.memory import MemoryStore as MemoryStore
    from realtime.engine.topics.publishing import publish as publish
    from realtime.engine.topics.publishing import recheck_topic as recheck_topic
    from realtime.engine.topics.store import Position as Position
    from realtime.engine.topics.store import TopicGone as TopicGone
    from realtime.engine.typed.decoder import MessageDecoder as MessageDecoder

__version__ = "0.4.0"

#: Modules below this package, and the public names of each.
_NAMES = {
    "auth.anonymous": ["AnonymousCookie", "anonymous_identity"],
    "auth.authentication": ["Authentication", "verify_access_token"],
    "auth.backends": ["TooManyAttempts", "limit_requests"],
    "auth.sessions": ["log_out_everywhere"],
    "connections.admin": ["LiveUserMixin"],
    "connections.models": ["LiveConnection"],
    "consumers.consumer": ["PolicyConsumer"],
    "consumers.handlers": ["on_message"],
    "consumers.mailbox": ["ConsumerMailbox"],
    "consumers.rates": ["MessageRate"],
    "handshake.addresses": ["network_of", "request_address"],
    "handshake.router": ["SocketRouter", "UpgradeRequired"],
    "layer": ["FanoutChannelLayer"],
    "protocol.close": ["Advice", "CloseCode", "close_codes"],
    "protocol.errors": ["DeclarationError", "HandshakeRejected", "InvalidMessage", "MessageRefused", "TokenRejected"],
    "protocol.messages": ["Message", "SharedMessage"],
    "protocol.policy": ["KIB", "MIB", "SocketPolicy"],
    "services.cache": ["limit_cache"],
    "services.database": ["DatabaseThreads", "in_monitor_thread"],
    "topics.consumer": ["TopicConsumer"],
    "topics.database": ["DatabaseStore"],
    "topics.memory": ["MemoryStore"],
    "topics.publishing": ["publish", "recheck_topic"],
    "topics.store": ["Position", "TopicGone"],
    "typed.decoder": ["MessageDecoder"],
}

#: The module of each name.
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [*_MODULES, "__version__"]  # noqa: PLE0604  names from the table


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
