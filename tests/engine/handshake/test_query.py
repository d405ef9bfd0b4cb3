from __future__ import annotations

from typing import Annotated

import msgspec
import pytest

from realtime.engine.handshake.query import parse_query
from realtime.engine.protocol.errors import HandshakeRejected


class Query(msgspec.Struct):
    user_id: Annotated[int, msgspec.Meta(ge=0, description="a number")]
    name: str
    limit: int | None = None


def query_rejection(query: bytes) -> HandshakeRejected:
    with pytest.raises(HandshakeRejected) as caught:
        parse_query({"query_string": query}, Query)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize(
    ("query", "parsed"),
    [
        (b"user_id=7&name=ann", Query(7, "ann")),
        (b"name=ann&user_id=0", Query(0, "ann")),
        (b"user_id=7&name=", Query(7, "")),
        (b"user_id=7&name=J%C3%B6rg+K.&more=1", Query(7, "Jörg K.")),
        (b"user_id=7&name=a&limit=-3", Query(7, "a", -3)),
    ],
)
def test_a_query_becomes_a_struct(query: bytes, parsed: Query) -> None:
    assert parse_query({"query_string": query}, Query) == parsed


#: query string, what the detail names
BAD_QUERIES = [
    (b"", "'user_id' is missing"),
    (b"name=ann", "'user_id' is missing"),
    (b"user_id=7", "'name' is missing"),
    (b"user_id=&name=a", "'user_id'"),
    (b"user_id=-1&name=a", "'user_id'"),
    (b"user_id=7.0&name=a", "'user_id'"),
    (b"user_id=1e1&name=a", "'user_id'"),
    (b"user_id=0x7&name=a", "'user_id'"),
    (b"user_id=%207&name=a", "'user_id'"),
    (b"user_id=%D9%A7&name=a", "'user_id'"),
    (b"user_id=seven&name=a", "'user_id'"),
    (b"user_id=" + b"9" * 5000 + b"&name=a", "'user_id'"),
    (b"user_id=7&user_id=8&name=a", "'user_id' is given more than once"),
    (b"user_id=7&name=a&name=a", "'name' is given more than once"),
    (b"user_id=7&name=%FF", "UTF-8"),
    (b"user_id=7&name=\xff", "UTF-8"),
    (b"user_id=7&name=a&limit=x", "'limit'"),
    (b"&".join(b"x%d=1" % number for number in range(200)), "100 parameters"),
]


@pytest.mark.parametrize(("query", "named"), BAD_QUERIES, ids=[str(row[0][:30]) for row in BAD_QUERIES])
def test_a_bad_query_is_400_and_names_the_parameter(query: bytes, named: str) -> None:
    assert named in query_rejection(query).detail
