"""``@on_message``: which method of a consumer handles which message, read from annotations while a class is defined."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType, NoneType
from typing import Any, TypeVar, overload

from asgiref.sync import iscoroutinefunction

from realtime.engine.consumers.guards import Permission, Rate
from realtime.engine.protocol.errors import DeclarationError
from realtime.engine.typed.decoder import MessageDecoder
from realtime.engine.typed.formats import JSON, MSGPACK
from realtime.engine.typed.wire import tag_of, union_members, wire_type

__all__ = ["Handler", "HandlerTable", "on_message"]

#: Where ``on_message`` leaves what it has read, for the class that the function becomes a method of.
_MARK = "_realtime_handler"

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Handler:
    """A method that handles messages.

    Args:
        name: of the method, by which a connection finds it.
        messages: the struct types that it takes.
        replies: the struct types that it may return.
        may_return_none: whether it may return None, which is answered with an ``Ack`` where there is a ``ref``.
        permission: what is asked first.
        rate: how many of its messages a connection may send.
        timeout: seconds after which it is cancelled.
        is_plain: whether nothing is asked before it runs, and nothing ends it.
    """

    name: str
    messages: tuple[Any, ...]
    replies: tuple[Any, ...]
    may_return_none: bool
    permission: Permission | None = None
    rate: Rate | None = None
    timeout: float | None = None
    is_plain: bool = True


@overload
def on_message(function: Function, /) -> Function: ...
@overload
def on_message(
    *, permission: Any = None, rate: str | None = None, timeout: float | None = None
) -> Callable[[Function], Function]: ...
def on_message(
    function: Any = None, /, *, permission: Any = None, rate: str | None = None, timeout: float | None = None
) -> Any:
    """Make a method of a ``PolicyConsumer`` the handler of the messages that its annotation names.

        @on_message
        async def vote(self, message: Vote) -> Tally: ...

    The message is a ``msgspec.Struct``, a union of some, or a parametrised generic one. What the method returns is
    the reply: a struct, or None.

    Args:
        function: the method.
        permission: ``(consumer, message) -> bool``, asynchronous or not, or a permission class of REST framework;
            otherwise the message is answered with ``forbidden``.
        rate: how many messages one connection may send to this handler, in REST framework's notation: ``"5/s"``;
            a message over it is answered with ``rate_limited``.
        timeout: seconds after which the handler is cancelled, and the message answered with ``timeout``.

    Raises:
        DeclarationError: names the method, what is wrong with it and what to do.
    """
    # The body of the class, and the function that it stands in, know names that the module does not.
    here = inspect.currentframe()
    frame = None if here is None else here.f_back

    def declare(method: Any) -> Any:
        name = getattr(method, "__qualname__", repr(method))
        try:
            handler = _read(method, _local_names(frame), permission=permission, rate=rate, timeout=timeout)
        except DeclarationError as error:
            raise DeclarationError(f"{name}: {error}") from None
        setattr(method, _MARK, handler)
        return method

    return declare if function is None else declare(function)


class HandlerTable:
    """The handlers of one consumer class, its own and those that it inherits.

    Args:
        consumer: the class.
        has_hooks: whether the class overrides a hook around its handlers.

    Attributes:
        handlers: by the tag of their messages.
        json: what decodes text messages.

    Raises:
        DeclarationError: if two methods of one class handle the same tag.
    """

    def __init__(self, consumer: type, *, has_hooks: bool) -> None:
        self.has_hooks = has_hooks
        self.handlers: dict[str, Handler] = {}
        types: dict[str, Any] = {}
        for handler in _handlers(consumer):
            for struct in handler.messages:
                tag = tag_of(struct)
                self.handlers[tag], types[tag] = handler, struct
        self._types = list(types.values())
        self.json = MessageDecoder(self._types)

    @functools.cached_property
    def msgpack(self) -> MessageDecoder:
        """What decodes binary messages where msgpack was negotiated."""
        return MessageDecoder(self._types, MSGPACK)

    @property
    def messages(self) -> list[Any]:
        """The struct types that a client sends."""
        return list(self._types)

    @property
    def by_message(self) -> dict[Any, Handler]:
        """The handlers by the struct types that they take."""
        return {struct: self.handlers[tag_of(struct)] for struct in self._types}

    @property
    def replies(self) -> list[Any]:
        """The struct types that handlers return, each once."""
        return list(dict.fromkeys(reply for handler in self.handlers.values() for reply in handler.replies))

    @property
    def acknowledges(self) -> bool:
        """Whether a message may be answered with an ``Ack``."""
        return any(handler.may_return_none for handler in self.handlers.values())


def handler_of(value: Any) -> Handler | None:
    """Return what ``on_message`` has read of a method; None for everything else."""
    return getattr(value, _MARK, None) if inspect.isfunction(value) else None


def _handlers(consumer: type) -> Iterator[Handler]:
    """Yield the handlers of a class, those of its bases first: a later one replaces an earlier one.

    A method that a subclass overrides without ``@on_message`` stays a handler; None instead of a method removes it.
    """
    found: dict[str, Handler] = {}
    for klass in reversed(consumer.__mro__):
        own: dict[str, str] = {}
        for name, value in vars(klass).items():
            if (handler := handler_of(value)) is not None:
                _check_tags(klass, handler, name, own)
                found.pop(name, None)
                found[name] = handler if handler.name == name else dataclasses.replace(handler, name=name)
            elif value is None:
                found.pop(name, None)
    yield from found.values()


def _check_tags(klass: type, handler: Handler, name: str, own: dict[str, str]) -> None:
    for struct in handler.messages:
        tag = tag_of(struct)
        if tag in own:
            raise DeclarationError(
                f"{klass.__qualname__}.{name} and {klass.__qualname__}.{own[tag]} both handle {tag!r}: "
                "keep one of them, or give one struct another tag"
            )
        own[tag] = name


def _read(method: Any, local_names: dict[str, Any], *, permission: Any, rate: Any, timeout: Any) -> Handler:
    if not (inspect.isfunction(method) and iscoroutinefunction(method)):
        raise DeclarationError("a handler is an 'async def' method; @on_message stands above all other decorators")
    parameters = list(inspect.signature(method).parameters.values())
    if len(parameters) != 2 or any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters):
        raise DeclarationError("a handler takes the message and nothing else: async def handler(self, message: Vote)")
    hints = _hints(method, local_names)
    name = parameters[1].name
    if name not in hints:
        raise DeclarationError(f"its message has no annotation: write '{name}: Vote', where Vote is a msgspec.Struct")
    if "return" not in hints:
        raise DeclarationError(
            "it has no return annotation: write '-> Tally', the struct it answers with, or '-> None'"
        )
    replies = union_members(hints["return"])
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout <= 0):
        raise DeclarationError(f"timeout={timeout!r}: write a number of seconds over 0")
    return Handler(
        name=method.__name__,
        messages=_structs(name, union_members(hints[name])),
        replies=_structs("its return value", [reply for reply in replies if reply is not NoneType]),
        may_return_none=NoneType in replies,
        permission=None if permission is None else Permission(permission),
        rate=None if rate is None else Rate.parse(rate),
        timeout=timeout,
        is_plain=permission is None and rate is None and timeout is None,
    )


def _structs(place: str, members: Any) -> tuple[Any, ...]:
    tags: dict[str, Any] = {}
    for struct in members:
        try:
            wire, decode = wire_type(struct), JSON.decoder
            decode(struct)
        except DeclarationError as error:
            raise DeclarationError(f"{place}: {error}") from None
        except (TypeError, NameError) as error:  # msgspec's, for a field whose type it does not support or find
            raise DeclarationError(f"{place}: a field cannot be decoded ({error})") from None
        if wire.tag in tags:
            raise DeclarationError(f"{place}: two structs have the tag {wire.tag!r}; give one of them another one")
        tags[wire.tag] = struct
    return tuple(tags.values())


def _hints(method: Any, local_names: dict[str, Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(method, localns=local_names)
    except NameError as error:
        raise DeclarationError(
            f"an annotation cannot be read ({error}): define the struct above the class, and import it at run time, "
            "not below 'if TYPE_CHECKING:'"
        ) from None


def _local_names(frame: FrameType | None) -> dict[str, Any]:
    """Return the names of the class's body and of the functions around it."""
    scopes: list[dict[str, Any]] = []
    scope: FrameType | None = frame
    while scope is not None and scope.f_locals is not scope.f_globals:
        scopes.append(dict(scope.f_locals))
        if scope.f_code.co_flags & inspect.CO_NEWLOCALS and scope.f_code.co_flags & inspect.CO_OPTIMIZED:
            break  # a function: what called it is no scope of its own
        scope = scope.f_back
    return {name: value for names in reversed(scopes) for name, value in names.items()}
