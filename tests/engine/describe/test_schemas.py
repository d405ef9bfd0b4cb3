"""Message structs read for documents."""

from __future__ import annotations

import datetime
import enum
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from realtime.engine.describe.schemas import describe_messages, json_schemas, members_of, typescript


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


def test_typescript_lets_a_client_leave_out_what_has_a_default_and_a_server_not():
    text = typescript(Clear, Draw)
    assert 'export interface Clear {\n  type: "Clear";\n}\n' in text
    assert "/** A place. */\nexport interface Point {\n  x: number;\n}\n" in text
    assert "  ref: string | null;\n" in text
    assert "  ref?: string | null;\n" in typescript(Draw, Clear)
    assert text.endswith("export type ClientMessage = Clear;\n\nexport type ServerMessage = Draw;\n")


def test_a_struct_of_both_directions_is_declared_once():
    assert typescript(Draw, Draw).count("export interface Draw ") == 1


def test_json_schemas_hold_the_structs_and_what_they_refer_to():
    schemas = json_schemas([Draw, Clear])
    assert {"Draw", "Clear", "Point"} <= schemas.keys()
    assert schemas["Draw"]["properties"]["points"]["items"] == {"$ref": "#/components/schemas/Point"}
