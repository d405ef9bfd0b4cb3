"""Message structs read for documents."""

from __future__ import annotations

import datetime
import enum
from typing import Annotated, Generic, Literal, TypeVar

import msgspec
import pytest
from msgspec import Meta, Struct

from realtime.engine.describe.schemas import Schemas, describe_messages, members_of

Item = TypeVar("Item")


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Point(Struct):
    """A place."""

    x: int


class Draw(Struct, tag_field="type", tag="Draw"):
    """Draw
    a line."""

    points: list[Point]
    colour: Colour
    width: Annotated[int, Meta(ge=1, examples=[3])]
    at: datetime.datetime
    style: Literal["solid", "dashed"] = "solid"
    ref: str | None = None
    names: list[str | None] = []


class Clear(Struct, tag_field="type", tag="Clear"):
    """Clear everything."""


@pytest.mark.parametrize(("union", "members"), [(None, ()), (Clear, (Clear,)), (Draw | Clear, (Draw, Clear))])
def test_the_members_of_a_union(union, members):
    assert members_of(union) == members


def test_a_message_is_described_by_its_struct():
    draw, clear = describe_messages(Draw | Clear)
    assert (draw.tag, draw.summary) == ("Draw", "Draw a line.")
    assert [(field.name, field.type, field.required) for field in draw.fields] == [
        ("points", "Point[]", True),
        ("colour", '"blue" | "red"', True),
        ("width", "number", True),
        ("at", "string", True),
        ("style", '"dashed" | "solid"', False),
        ("ref", "string | null", False),
        ("names", "(string | null)[]", False),
    ]
    assert (clear.fields, clear.example) == ((), {"type": "Clear"})


def test_an_example_is_a_message_that_is_accepted():
    for message in describe_messages(Draw | Clear):
        decoded = msgspec.convert(message.example, Draw | Clear)
        assert type(decoded).__name__ == message.name
    assert describe_messages(Draw)[0].example["width"] == 3


def test_the_schemas_hold_the_structs_and_what_they_refer_to():
    schemas = Schemas([Draw, Clear]).components
    assert set(schemas) == {"Draw", "Clear", "Point", "Colour"}
    assert schemas["Draw"]["properties"]["points"]["items"] == {"$ref": "#/components/schemas/Point"}


def test_dates_have_a_format_wherever_they_stand():
    class Log(Struct):
        at: datetime.datetime
        until: datetime.datetime | None
        times: list[datetime.datetime]
        by_name: dict[str, datetime.datetime | None]
        note: str

    fields = Schemas([Log]).components["Log"]["properties"]
    a_date = {"type": "string", "format": "date-time"}
    assert fields["at"] == fields["times"]["items"] == a_date
    assert a_date in fields["until"]["anyOf"]
    assert a_date in fields["by_name"]["additionalProperties"]["anyOf"]
    assert fields["note"] == {"type": "string"}


class Vote(Struct, forbid_unknown_fields=True):
    """Choose."""

    choice: str


class Ballot(Struct, tag="ballot"):
    votes: list[Vote]


def test_a_tag_and_a_ref_that_stand_beside_a_struct_are_fields_of_its_schema():
    schema = Schemas([Vote], with_ref=[Vote]).components["Vote"]
    assert list(schema["properties"]) == ["type", "choice", "ref"]
    assert schema["properties"]["type"] == {"enum": ["Vote"]}
    assert schema["required"] == ["type", "choice"]


def test_a_struct_within_another_one_has_neither():
    schemas = Schemas([Vote, Ballot], with_ref=[Vote]).components
    assert list(schemas["VoteValue"]["properties"]) == ["choice"]
    assert schemas["Ballot"]["properties"]["votes"]["items"]["$ref"].endswith("/VoteValue")
    assert list(schemas["Vote"]["properties"]) == ["type", "choice", "ref"]


class Page(Struct, Generic[Item]):
    items: list[Item]


def test_names_are_identifiers_and_unique():
    other = msgspec.defstruct("Vote", [("number", int)], module="polls.messages")
    schemas = Schemas([Vote, other, Page[int], Page[Vote], Text], reserved=["Text"])
    names = [schemas.name(struct) for struct in (Vote, other, Page[int], Page[Vote], Text)]
    assert names == ["TestSchemasVote", "MessagesVote", "PageInt", "PageVote", "TestSchemasText"]
    assert set(names) <= schemas.components.keys()


class Text(Struct):
    text: str


def test_generators_get_a_type_for_each_enumeration():
    schemas = Schemas([Draw]).for_generators()
    assert schemas["Draw"]["properties"]["style"] == {"$ref": "#/components/schemas/DrawStyle"}
    assert schemas["Draw"]["properties"]["type"] == {"type": "string", "const": "Draw"}
