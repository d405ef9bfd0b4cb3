"""The limits and choices of one endpoint: a frozen value that is checked where it is declared."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from realtime.engine.protocol.errors import PolicyError

KIB = 1024
MIB = 1024 * KIB

DEFAULT_MESSAGE_SIZE = 64 * MIB
DEFAULT_FRAME_SIZE = 16 * MIB
#: A message of 4 MiB in frames of 64 bytes, as the Autobahn test suite sends it, is half of that.
DEFAULT_FRAGMENTS = 131_072

#: No character takes more bytes in UTF-8; shorter texts need not be encoded to be measured.
MAX_UTF8_BYTES = 4

#: Decides about an ``Origin`` header: called with its value, None for none, and the ASGI scope.
OriginPredicate = Callable[[str | None, Mapping[str, Any]], bool]

#: RFC 9110, 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def is_token(name: str) -> bool:
    """Return whether a name is a token, which a subprotocol must be (RFC 6455, 4.1)."""
    return _TOKEN.fullmatch(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the server enforces on one connection; ``SocketPolicy`` explains the fields and checks their values.

    The sizes are Daphne's own; they hold for an application that accepts without a policy.
    """

    max_message_size: int | None = MIB
    max_frame_size: int | None = MIB
    write_buffer_size: int = 128 * KIB
    max_write_buffer_size: int | None = None
    accept_unmasked_frames: bool = False
    ping_interval: float | None = None
    ping_timeout: float = 20
    idle_timeout: float | None = None
    compression: bool = False
    max_fragments: int = DEFAULT_FRAGMENTS
    message_timeout: float | None = 60
    close_timeout: float = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketPolicy(Limits):
    """Limits and choices of one WebSocket endpoint.

    Sizes are in bytes, times in seconds. The defaults are generous; state tighter ones for an endpoint of your
    own (``manage.py check --deploy`` reminds you).

    Args:
        max_message_size: largest message after reassembly and decompression; None for no limit.
        max_frame_size: largest frame payload, read from the frame header; None for no limit. Left at its
            default, it follows a smaller ``max_message_size``.
        write_buffer_size: outgoing frames are gathered up to this many bytes and always written by the
            end of the event-loop iteration; 0 writes every message at once.
        max_write_buffer_size: what may be pending to a peer that does not read before a fan-out to it
            ends the connection with 1013; None for no limit. A consumer's own ``send`` waits instead.
        accept_unmasked_frames: accept frames without a mask, which RFC 6455, 5.1 forbids to clients.
        ping_interval: a protocol ping is sent this often, unless another one is unanswered; None sends none.
        ping_timeout: a peer that does not answer a ping within this time is closed with 1011.
        idle_timeout: a peer that sends no message for this long is closed with 3008; None allows it.
        compression: offer permessage-deflate (RFC 7692); costs memory for each connection.
        max_fragments: largest number of frames in one message.
        message_timeout: an unfinished fragmented message or frame is closed with 1008 after this time;
            None waits without a limit.
        close_timeout: how long the peer has to answer a close frame before the TCP connection is ended.
        subprotocols: names that this endpoint speaks; the first that the *client* lists and that stands
            here is selected (RFC 6455, 4.2.2). Without an overlap the connection goes on without one.
        accept_any_subprotocol: select whatever the client lists first; overrides ``subprotocols``.
        allowed_origins: None accepts the request's own host and ``ALLOWED_HOSTS``; else a collection of
            origins (``"https://example.com"``, ``"https://*.example.com"`` or ``"*"``) or a predicate that
            is called with the ``Origin`` header, None for none, and the scope.
        require_origin: refuse a client that sends no ``Origin`` header, which every browser does.
        max_messages_per_second: a peer that sends more is closed with 1008; a burst of up to one
            second's worth is allowed. None for no limit.

    Raises:
        PolicyError: names the field whose value cannot be enforced.
    """

    max_message_size: int | None = DEFAULT_MESSAGE_SIZE
    max_frame_size: int | None = DEFAULT_FRAME_SIZE
    subprotocols: tuple[str, ...] = ()
    accept_any_subprotocol: bool = False
    allowed_origins: tuple[str, ...] | OriginPredicate | None = None
    require_origin: bool = False
    max_messages_per_second: float | None = None

    def __post_init__(self) -> None:
        self._freeze("subprotocols")
        self._freeze("allowed_origins")
        self._follow_message_size()
        self._check_values()
        self._check_order_of_sizes()
        self._check_subprotocols()
        self._check_origins()

    @property
    def has_default_sizes(self) -> bool:
        """Whether both size limits are the generous defaults, which no endpoint should ship with."""
        return (self.max_message_size, self.max_frame_size) == (DEFAULT_MESSAGE_SIZE, DEFAULT_FRAME_SIZE)

    def select_subprotocol(self, offered: Iterable[str]) -> str | None:
        """Return the subprotocol for a handshake, None to go on without one.

        Args:
            offered: the client's subprotocols in the client's order of preference.
        """
        for name in offered:
            if self.accept_any_subprotocol or name in self.subprotocols:
                return name
        return None

    def is_too_big(self, payload: str | bytes) -> bool:
        """Return whether a message is over ``max_message_size``, for servers that do not enforce it themselves."""
        limit = self.max_message_size
        if limit is None or len(payload) * MAX_UTF8_BYTES <= limit:
            return False
        return len(payload.encode() if isinstance(payload, str) else payload) > limit

    def for_wire(self) -> dict[str, Any]:
        """Return what the server enforces, as it stands in ``websocket.accept`` under ``policy``."""
        return {name: getattr(self, name) for name in Limits.__slots__}

    # Validation, one subject each.

    def _freeze(self, field: str) -> None:
        value = getattr(self, field)
        if isinstance(value, str):
            raise PolicyError(field, f"takes a collection of strings, not the string {value!r}")
        if value is None or callable(value):
            return
        if not isinstance(value, Iterable):
            raise PolicyError(field, f"takes a collection of strings, not {value!r}")
        object.__setattr__(self, field, tuple(value))

    def _follow_message_size(self) -> None:
        if self.max_frame_size == DEFAULT_FRAME_SIZE and isinstance(self.max_message_size, int):
            object.__setattr__(self, "max_frame_size", min(DEFAULT_FRAME_SIZE, self.max_message_size))

    def _check_values(self) -> None:
        """Check each number and flag by the annotation of its field."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            kind, _, optional = str(field.type).partition(" | ")
            if value is None and optional:
                continue
            smallest = 0 if field.name == "write_buffer_size" else 1
            problem = _problem(kind, value, smallest)
            if problem is not None:
                or_none = " or None" if optional else ""
                raise PolicyError(field.name, f"{problem}{or_none}, not {value!r}")

    def _check_order_of_sizes(self) -> None:
        message, frame = self.max_message_size, self.max_frame_size
        if message is not None and frame is not None and frame > message:
            raise PolicyError(
                "max_frame_size",
                f"{frame} is over max_message_size={message}; no frame can be larger than its message",
            )
        if self.max_write_buffer_size is not None and self.max_write_buffer_size < self.write_buffer_size:
            raise PolicyError(
                "max_write_buffer_size",
                f"{self.max_write_buffer_size} is under write_buffer_size={self.write_buffer_size}; "
                "what is gathered for one write would already be too much",
            )

    def _check_subprotocols(self) -> None:
        seen: set[str] = set()
        for name in self.subprotocols:
            if not isinstance(name, str) or not is_token(name):
                raise PolicyError("subprotocols", f"{name!r} is not a token (RFC 6455, 4.1; RFC 9110, 5.6.2)")
            if name in seen:
                raise PolicyError("subprotocols", f"{name!r} is listed twice")
            seen.add(name)

    def _check_origins(self) -> None:
        if self.allowed_origins is None or callable(self.allowed_origins):
            return
        for origin in self.allowed_origins:
            if origin != "*" and (not isinstance(origin, str) or "://" not in origin):
                raise PolicyError(
                    "allowed_origins", f"{origin!r} is no origin; write a scheme and a host, like 'https://example.com'"
                )


def _problem(kind: str, value: Any, smallest: int) -> str | None:
    """Return what a value of this type must be, None if it is."""
    is_flag = isinstance(value, bool)
    match kind:
        case "bool" if not is_flag:
            return "must be True or False"
        case "int" if is_flag or not isinstance(value, int) or value < smallest:
            return f"must be an integer of at least {smallest}"
        case "float" if is_flag or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            return "must be a number over 0"
    return None
