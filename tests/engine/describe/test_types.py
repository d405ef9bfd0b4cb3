"""JSON Schemas as types of TypeScript and of Python."""

from __future__ import annotations

import pytest

from realtime.engine.describe import python, typescript

COMPONENTS = {"Point": {"type": "object", "properties": {}}, "Colour": {"enum": ["blue", "red"]}}

TYPES = [
    ({"type": "string"}, "string", "str"),
    ({"type": "integer"}, "number", "int"),
    ({"type": "number"}, "number", "float"),
    ({"type": "boolean"}, "boolean", "bool"),
    ({"type": "null"}, "null", "None"),
    ({}, "unknown", "typing.Any"),
    ({"type": "string", "format": "date-time"}, "string", "datetime.datetime"),
    ({"type": "string", "format": "date"}, "string", "datetime.date"),
    ({"type": "string", "format": "time"}, "string", "datetime.time"),
    ({"type": "string", "format": "duration"}, "string", "datetime.timedelta"),
    ({"type": "string", "format": "uuid"}, "string", "uuid.UUID"),
    ({"type": "string", "format": "decimal"}, "string", "decimal.Decimal"),
    ({"type": "string", "format": "email"}, "string", "str"),
    ({"type": "string", "contentEncoding": "base64"}, "string", "bytes"),
    ({"enum": ["a", 1]}, '"a" | 1', "typing.Literal['a', 1]"),
    ({"$ref": "#/components/schemas/Point"}, "Point", "Point"),
    ({"$ref": "#/components/schemas/Colour"}, '"blue" | "red"', "typing.Literal['blue', 'red']"),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "number | null", "int | None"),
    ({"type": "array", "items": {"type": "string"}}, "string[]", "list[str]"),
    ({"type": "array"}, "unknown[]", "list[typing.Any]"),
    (
        {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
        "(string | null)[]",
        "list[str | None]",
    ),
    (
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
        "[number, string]",
        "tuple[int, str]",
    ),
    ({"type": "object"}, "{ [key: string]: unknown }", "dict[str, typing.Any]"),
    (
        {"type": "object", "additionalProperties": {"type": "integer"}},
        "{ [key: string]: number }",
        "dict[str, int]",
    ),
]


@pytest.mark.parametrize(("schema", "in_typescript", "in_python"), TYPES)
def test_a_schema_is_a_type_in_both_languages(schema, in_typescript, in_python):
    assert typescript.type_name(schema, COMPONENTS) == in_typescript
    assert python.type_name(schema, COMPONENTS) == in_python


@pytest.mark.parametrize(
    ("name", "schema", "required", "source"),
    [
        ("room", {"type": "string"}, True, "room: str"),
        ("limit", {"type": "integer", "default": 50}, False, "limit: int = 50"),
        (
            "since",
            {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
            False,
            "since: int | None = None",
        ),
        ("ref", {"type": "string"}, False, "ref: str | msgspec.UnsetType = msgspec.UNSET"),
        ("style", {"enum": ["solid"], "default": "solid"}, False, "style: typing.Literal['solid'] = 'solid'"),
        (
            "names",
            {"type": "array", "items": {"type": "string"}, "default": []},
            False,
            "names: list[str] | msgspec.UnsetType = msgspec.UNSET",
        ),
        (
            "at",
            {"type": "string", "format": "date", "default": "2026-01-31"},
            False,
            "at: datetime.date | msgspec.UnsetType = msgspec.UNSET",
        ),
        ("from", {"type": "string"}, True, "from_: str = msgspec.field(name='from')"),
        ("a-b", {"type": "integer", "default": 1}, False, "a_b: int = msgspec.field(default=1, name='a-b')"),
        ("1st", {"type": "boolean"}, True, "field_1st: bool = msgspec.field(name='1st')"),
    ],
)
def test_a_field_of_a_struct_in_python(name, schema, required, source):
    assert python.field_source(name, schema, {}, required=required) == source


@pytest.mark.parametrize(("name", "written"), [("room", "room"), ("a-b", '"a-b"'), ("$x", "$x"), ("1st", '"1st"')])
def test_a_property_in_typescript_is_quoted_where_it_has_to_be(name, written):
    assert typescript.property_name(name) == written
