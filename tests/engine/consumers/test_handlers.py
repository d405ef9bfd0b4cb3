"""Declarations of ``@on_message``: what works, and what is said about those that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
import pytest

from realtime.engine.consumers.consumer import PolicyConsumer
from realtime.engine.consumers.handlers import on_message
from realtime.engine.protocol.errors import DeclarationError

if TYPE_CHECKING:
    Unseen = msgspec.Struct

T = TypeVar("T")


class Vote(msgspec.Struct):
    choice: str


class Other(msgspec.Struct, tag="Vote"):
    """Has the tag of another struct."""


class Tally(msgspec.Struct):
    votes: int


class Page(msgspec.Struct, Generic[T]):
    items: list[T]


class Numbered(msgspec.Struct, tag=7):
    pass


class ByKind(msgspec.Struct, tag_field="kind"):
    pass


class WithType(msgspec.Struct):
    type: str


class AsArray(msgspec.Struct, array_like=True):
    pass


class Undecodable(msgspec.Struct):
    either: Vote | Tally


async def untyped(self, message) -> None: ...


async def no_reply(self, message: Vote): ...


async def no_message(self) -> None: ...


async def two_arguments(self, message: Vote, more: int) -> None: ...


async def any_message(self, message: dict[str, Any]) -> None: ...


async def none_as_message(self, message: Vote | None) -> None: ...


async def any_reply(self, message: Vote) -> dict[str, int]: ...


async def one_tag_twice(self, message: Vote | Other) -> None: ...


async def a_number_as_tag(self, message: Numbered) -> None: ...


async def another_tag_field(self, message: ByKind) -> None: ...


async def a_field_called_type(self, message: WithType) -> None: ...


async def an_array(self, message: AsArray) -> None: ...


async def undecodable(self, message: Undecodable) -> None: ...


async def not_there(self, message: Unseen) -> None: ...


def synchronous(self, message: Vote) -> None: ...


async def good(self, message: Vote) -> None: ...


@pytest.mark.parametrize(
    ("method", "options", "problem"),
    [
        (untyped, {}, "untyped: its message has no annotation: write 'message: Vote'"),
        (no_reply, {}, "no_reply: it has no return annotation"),
        (no_message, {}, "takes the message and nothing else"),
        (two_arguments, {}, "takes the message and nothing else"),
        (any_message, {}, r"any_message: message: dict\[str, typing.Any\] is no msgspec.Struct"),
        (none_as_message, {}, "message: NoneType is no msgspec.Struct"),
        (any_reply, {}, "its return value: dict"),
        (one_tag_twice, {}, "two structs have the tag 'Vote'"),
        (a_number_as_tag, {}, "Numbered states the tag 7 in the field 'type'.*leave tag and tag_field out"),
        (another_tag_field, {}, "ByKind states the tag 'ByKind' in the field 'kind'"),
        (a_field_called_type, {}, "WithType has a field 'type'.*rename the field"),
        (an_array, {}, "AsArray is array_like"),
        (undecodable, {}, "a field cannot be decoded"),
        (not_there, {}, "'Unseen' is not defined.*TYPE_CHECKING"),
        (synchronous, {}, "a handler is an 'async def' method"),
        (7, {}, "a handler is an 'async def' method"),
        (good, {"rate": "often"}, "good: rate='often': write a number and a period"),
        (good, {"rate": 5}, "rate=5"),
        (good, {"rate": "0/s"}, "rate='0/s'"),
        (good, {"timeout": 0}, "timeout=0: write a number of seconds over 0"),
        (good, {"timeout": True}, "timeout=True"),
        (good, {"permission": "admin"}, "permission='admin': write a callable"),
    ],
)
def test_a_declaration_that_cannot_work_says_why_and_what_to_do(method, options, problem) -> None:
    with pytest.raises(DeclarationError, match=problem):
        on_message(**options)(method)


def test_two_handlers_of_one_tag_in_a_class_are_an_error_that_names_both() -> None:
    with pytest.raises(DeclarationError, match=r"Poll\.second and .*Poll\.first both handle 'Vote'"):

        class Poll(PolicyConsumer):
            @on_message
            async def first(self, message: Vote) -> None: ...

            @on_message
            async def second(self, message: Other) -> None: ...


@pytest.mark.parametrize("name", ["receive", "receive_message"])
def test_handlers_and_another_way_to_handle_messages_are_an_error(name) -> None:
    async def receive(self, *args): ...

    with pytest.raises(DeclarationError, match=rf"Poll has both @on_message and {name}\(\)"):
        type("Poll", (PolicyConsumer,), {"vote": on_message(good), name: receive})


def test_server_messages_are_structs() -> None:
    with pytest.raises(DeclarationError, match=r"Poll\.server_messages: str is no msgspec\.Struct"):
        type("Poll", (PolicyConsumer,), {"vote": on_message(good), "server_messages": Tally | str})


def test_a_consumer_without_handlers_has_no_table() -> None:
    class Plain(PolicyConsumer):
        pass

    assert Plain.message_handlers is None
    assert PolicyConsumer.message_handlers is None


class Base(PolicyConsumer):
    @on_message
    async def vote(self, message: Vote) -> Tally:
        return Tally(1)

    @on_message
    async def page(self, message: Page[int]) -> None: ...


def names(consumer: type[PolicyConsumer]) -> dict[str, str]:
    assert consumer.message_handlers is not None
    return {tag: handler.name for tag, handler in consumer.message_handlers.handlers.items()}


def test_a_subclass_inherits_handlers_and_replaces_one_by_its_tag() -> None:
    class Derived(Base):
        @on_message
        async def other_vote(self, message: Other) -> None: ...

    assert names(Base) == {"Vote": "vote", "Page": "page"}
    assert names(Derived) == {"Vote": "other_vote", "Page": "page"}


def test_a_subclass_replaces_a_handler_by_its_name_with_all_its_tags() -> None:
    class Derived(Base):
        @on_message
        async def vote(self, message: Tally) -> None: ...

    assert names(Derived) == {"Page": "page", "Tally": "vote"}


def test_a_method_that_overrides_a_handler_without_the_decorator_stays_one() -> None:
    class Derived(Base):
        async def vote(self, message: Vote) -> Tally:
            return Tally(2)

    assert names(Derived)["Vote"] == "vote"


def test_a_handler_is_found_by_the_name_that_the_class_gives_it() -> None:
    assert names(type("Poll", (PolicyConsumer,), {"vote": on_message(good)})) == {"Vote": "vote"}


def test_none_removes_an_inherited_handler() -> None:
    class Derived(Base):
        page = None

    assert names(Derived) == {"Vote": "vote"}


def test_a_mixin_brings_handlers() -> None:
    class Mixin:
        @on_message
        async def page(self, message: Page[str]) -> None: ...

    class Mixed(Mixin, PolicyConsumer):
        @on_message
        async def vote(self, message: Vote) -> None: ...

    assert names(Mixed) == {"Page": "page", "Vote": "vote"}


def test_structs_of_a_function_and_of_the_class_itself_are_found() -> None:
    class Local(msgspec.Struct):
        pass

    class Poll(PolicyConsumer):
        class Inner(msgspec.Struct):
            pass

        @on_message
        async def local(self, message: Local) -> Inner | None: ...

        @on_message(rate="1/s")
        async def inner(self, message: Inner) -> Local: ...

    assert names(Poll) == {"Local": "local", "Inner": "inner"}
    assert Poll.message_handlers is not None
    assert Poll.message_handlers.replies == [Poll.Inner, Local]
    assert Poll.message_handlers.acknowledges


async def test_a_handler_is_still_a_method() -> None:
    assert await Base().vote(Vote("a")) == Tally(1)
