"""Every input that is not one of the client's messages, and what is said about it."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.engine import InvalidMessage
from realtime.rooms.protocol import Authenticate, History, Join, Leave, Ping, Position, Post, decode

DEEP = 100_000

VALID: list[tuple[str, Any]] = [
    ('{"type":"Join","room":"lobby"}', Join(room="lobby")),
    (
        '{"type":"Join","room":"lobby","since":{"epoch":"e","seq":41}}',
        Join(room="lobby", since=Position(epoch="e", seq=41)),
    ),
    ('{"type":"Chat","content":"hi"}', Post(content="hi")),
    ('{"type":"Chat","content":"hi","room":"lobby","ref":"7"}', Post(content="hi", room="lobby", ref="7")),
    ('{"type":"Chat","content":"\\ud83d\\ude00"}', Post(content="😀")),
    ('{"content":"the tag may come last","type":"Chat"}', Post(content="the tag may come last")),
    ('{"type":"Chat","content":"hi","from":"a newer client"}', Post(content="hi")),
    ('{"type":"Leave","room":"lobby"}', Leave(room="lobby")),
    ('{"type":"History","room":"lobby","before":120,"limit":50}', History(room="lobby", before=120, limit=50)),
    ('{"type":"Authenticate","token":"t"}', Authenticate(token="t")),
    ('{"type":"Ping"}', Ping()),
]


@pytest.mark.parametrize(("text", "command"), VALID)
def test_the_messages_of_the_contract_are_understood(text: str, command: Any) -> None:
    assert decode(text) == command


#: id, text, a part of the detail, the ref that is echoed.
INVALID: list[tuple[str, str, str, str | None]] = [
    ("empty", "", "not valid json", None),
    ("no JSON", "hello", "not valid json", None),
    ("cut off", '{"type":"Chat"', "not valid json", None),
    ("more than one", '{"type":"Ping"} {"type":"Ping"}', "trailing", None),
    ("an array", "[]", "json object", None),
    ("a number", "1", "json object", None),
    ("null", "null", "json object", None),
    ("no type", '{"ref":"r"}', "type: this field is required", "r"),
    ("unknown type", '{"type":"Shout","ref":"r"}', "one of Authenticate, Chat", "r"),
    ("a type that is no string", '{"type":5}', "type:", None),
    ("missing field", '{"type":"Chat","ref":"r"}', "content: this field is required", "r"),
    ("wrong type", '{"type":"Chat","content":7,"ref":"r"}', "content: Expected `str`, got `int`", "r"),
    ("wrong type inside", '{"type":"Join","room":"a","since":{"epoch":1,"seq":0}}', "since.epoch", None),
    ("missing inside", '{"type":"Join","room":"a","since":{"epoch":"e"}}', "since.seq: this field is required", None),
    ("a negative number", '{"type":"Join","room":"a","since":{"epoch":"e","seq":-1}}', "since.seq", None),
    ("a ref that is no string", '{"type":"Ping","ref":5}', "ref: ", None),
    ("a ref that is too long", '{"type":"Ping","ref":"' + "r" * 129 + '"}', "ref: ", None),
    ("no page", '{"type":"History","limit":0}', "limit: ", None),
    ("a fraction", '{"type":"History","before":1.5}', "before: ", None),
    ("deep arrays", "[" * DEEP, "json object", None),
    ("deep in an unknown field", '{"type":"Ping","x":' + "[" * DEEP + "]" * DEEP + "}", "nested too deeply", None),
    ("deep objects", '{"type":"Ping","x":' + '{"x":' * DEEP + "1" + "}" * DEEP + "}", "nested too deeply", None),
    ("deep content", '{"type":"Chat","content":' + "[" * DEEP + "]" * DEEP + "}", "content: ", None),
    ("a million digits", '{"type":"History","before":' + "9" * 1_000_000 + "}", "before: ", None),
    ("an exponent", '{"type":"History","before":1e400}', "before: ", None),
    ("half a pair", '{"type":"Chat","content":"\\ud800"}', "half a surrogate pair", None),
    ("half a pair in a text", '{"type":"Chat","content":"\\ud800 and more"}', "half a surrogate pair", None),
    ("the other half", '{"type":"Chat","content":"\\udc00"}', "half a surrogate pair", None),
    ("a huge type", '{"type":"' + "x" * 100_000 + '"}', "type:", None),
]


@pytest.mark.parametrize(("text", "detail", "ref"), [row[1:] for row in INVALID], ids=[row[0] for row in INVALID])
def test_anything_else_is_explained(text: str, detail: str, ref: str | None) -> None:
    with pytest.raises(InvalidMessage) as error:
        decode(text)
    assert detail.lower() in error.value.detail.lower()
    assert error.value.ref == ref
    assert len(error.value.detail) < 600


@pytest.mark.parametrize("text", [row[1] for row in INVALID], ids=[row[0] for row in INVALID])
async def test_a_server_answers_with_an_error_and_lives_on(site: Any, text: str) -> None:
    client = await site.client()
    await client.socket.send(text)
    error = await client.receive()
    assert (error["type"], error["code"]) == ("Error", "invalid_message")
    assert await client.seen_so_far() == []
