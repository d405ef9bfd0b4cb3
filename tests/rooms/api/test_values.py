"""Malformed values: each is the client's fault, answered with a problem document, on both databases."""

from __future__ import annotations

import base64
import concurrent.futures
import json
import uuid
from typing import Any

import pytest
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from realtime.engine.testing import credentials

READERS_OF_JSON = [
    "/api/token/",
    "/api/token/refresh/",
    "/api/token/verify/",
    "/api/rooms/",
    "/api/rooms/lobby/messages/",
    "/api/rooms/lobby/memberships/",
]


def arrays(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def objects(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize("path", READERS_OF_JSON)
@pytest.mark.parametrize("nested", [arrays, objects])
@pytest.mark.parametrize("depth", [100, 1_000, 100_000])
def test_json_that_is_nested_too_deeply_is_refused(admin: Any, path: str, nested: Any, depth: int) -> None:
    answer = admin.request("POST", path, nested(depth))
    assert (answer.status, answer.problem["title"]) == (400, "Bad Request")


@pytest.mark.parametrize("depth", [10, 100, 900, 1_000])
def test_a_field_that_is_nested_too_deeply_is_refused(admin: Any, depth: int) -> None:
    body = b'{"user":' + arrays(depth) + b"}"
    assert admin.request("POST", "/api/rooms/lobby/memberships/", body).problem["status"] == 400


@pytest.mark.parametrize("path", ["/api/ws-ticket/", "/api/logout-everywhere/"])
def test_an_endpoint_that_takes_no_body_does_not_read_one(anonymous: Any, password: str, path: str) -> None:
    client = anonymous.log_in("ann", password)
    assert client.request("POST", path, arrays(100_000)).status in (200, 204)


@pytest.mark.parametrize("path", READERS_OF_JSON)
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b'"\xff"', b"\xef\xbb\xbf{}", b"NaN", b"1e400", b"1" * 5000, b"null", b"[]", b'"x"', b"\x00"],
)
def test_a_body_that_is_no_object_is_refused(admin: Any, path: str, body: bytes) -> None:
    assert admin.request("POST", path, body).problem["status"] == 400


@pytest.mark.parametrize("charset", ["utf-16", "zlib", "punycode", "undefined", "rot13", "nonsense"])
def test_a_charset_that_json_does_not_have_changes_nothing(anonymous: Any, charset: str) -> None:
    kind = {"Content_Type": f"application/json; charset={charset}"}
    answer = anonymous.request("POST", "/api/token/", json.dumps(credentials("ann", "wrong")).encode(), **kind)
    assert answer.problem["status"] == 401


@pytest.mark.parametrize(
    "value", ["a\0b", "\0", "\ud800", "x\udfff", "\U0010ffff" * 100, 10**30, -(10**400), 1e308, True, None, [], {}]
)
@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/api/token/", list(credentials("ann", ""))),
        ("/api/token/refresh/", ["refresh"]),
        ("/api/token/verify/", ["token"]),
        ("/api/rooms/", ["room"]),
        ("/api/rooms/lobby/memberships/", ["user", "role"]),
    ],
)
def test_a_value_of_another_kind_is_refused(admin: Any, path: str, fields: list[str], value: Any) -> None:
    answer = admin.send("POST", path, **dict.fromkeys(fields, value))
    if answer.status != 201:  # a number is a name too
        assert 400 <= answer.problem["status"] < 500


@pytest.mark.parametrize("field", ["title", "is_public", "member_limit"])
@pytest.mark.parametrize("value", ["a\0b", 2**63, -1, -1.5, [], {}])
def test_a_room_takes_no_value_of_another_kind(admin: Any, field: str, value: Any) -> None:
    answer = admin.send("POST", "/api/rooms/", room=uuid.uuid4().hex, **{field: value})
    if answer.status != 201:  # a number is a title too
        assert list(answer.problem["errors"]) == [field]


@pytest.mark.parametrize("value", ["a\0b", "", " ", [], {}, None, True, "x" * 100_000])
@pytest.mark.parametrize("field", ["content", "ref"])
def test_a_message_takes_no_value_of_another_kind(admin: Any, field: str, value: Any) -> None:
    answer = admin.send("POST", "/api/rooms/lobby/messages/", **{"content": "hi", field: value})
    if answer.status != 201:
        assert field in answer.problem["errors"]


@pytest.mark.parametrize("path", ["/api/rooms/", "/api/rooms/lobby/messages/"])
@pytest.mark.parametrize(
    "value",
    [
        *("p=abc", "p=nan", "p=inf", "p=-1", "p=1e3", "p=\0", "p=\0lobby", "p=a\0b", "p=" + "9" * 30, "p="),
        *("p=%FF", "p=\u0661", "p= 1", "p=1_0", "p=x'--", "o=abc", "o=-1", "o=" + "9" * 30, "r=x", "r=1&p=nan"),
        *("r=1&p=\0", "r=1&p=" + "9" * 30, "o=5&p=nan"),
    ],
)
def test_a_cursor_that_the_server_did_not_give_is_refused(admin: Any, path: str, value: str) -> None:
    answer = admin.request("GET", f"{path}?cursor={cursor(value)}")
    if answer.status != 200:  # an offset that is too large is cut off
        assert answer.problem["status"] == 404
    if "\0" in value or (path.endswith("messages/") and "nan" in value):
        assert answer.status == 404


@pytest.mark.parametrize("value", ["", "%00", "abc", "====", "%FF%FE", "x" * 5000])
@pytest.mark.parametrize("path", ["/api/rooms/", "/api/rooms/lobby/messages/"])
def test_a_cursor_that_is_no_base64_is_refused(admin: Any, path: str, value: str) -> None:
    answer = admin.request("GET", f"{path}?cursor={value}")
    assert answer.status == 200 or answer.problem["status"] == 404


def test_the_cursors_that_the_server_gives_work(admin: Any) -> None:
    room = uuid.uuid4().hex
    admin.send("POST", "/api/rooms/", room=room)
    for number in range(5):
        admin.send("POST", f"/api/rooms/{room}/messages/", content=str(number))
    path: str | None = f"/api/rooms/{room}/messages/?limit=2"
    seen = []
    while path is not None:
        page = json.loads(admin.request("GET", path).body)
        seen += [message["content"] for message in page["results"]]
        path = page["next"] and page["next"].partition(str(admin.server.port))[2]
    assert seen == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize("name", ["%00", "a%00b", "%ED%A0%80", "%FF", "x" * 4000, "%F4%8F%BF%BF"])
def test_a_name_in_the_address_that_nobody_has_is_not_found(admin: Any, name: str) -> None:
    for path in (f"/api/rooms/{name}/", f"/api/rooms/{name}/messages/", f"/api/rooms/lobby/memberships/{name}/"):
        method = "DELETE" if "memberships" in path else "GET"
        assert admin.request(method, path).problem["status"] in (400, 404)


@pytest.mark.parametrize("path", ["/", "/login/", "/rooms/", "/rooms/lobby/", "/admin/login/", "/api/rooms/"])
@pytest.mark.parametrize(
    "cookie", [r'sessionid="\0001234567"', "sessionid=" + "x" * 5000, "sessionid=\xff\xfe1234567", "csrftoken=\xff"]
)
def test_a_cookie_that_the_server_did_not_give_counts_for_nothing(anonymous: Any, path: str, cookie: str) -> None:
    assert anonymous.request("GET", path, Cookie=cookie).status == 200


@pytest.mark.parametrize("path", ["/", "/login/", "/rooms/", "/rooms/lobby/", "/admin/login/", "/api/rooms/"])
@pytest.mark.parametrize("query", ["name=%00", "next=%00", "next=%ED%A0%80", "limit=nan", "q=%00&page=9", "%00=%00"])
def test_a_query_that_nobody_asked_for_is_no_error(anonymous: Any, path: str, query: str) -> None:
    assert anonymous.request("GET", f"{path}?{query}").status in (200, 302)


@pytest.mark.parametrize(
    "claims",
    [
        *({"user_id": value} for value in ([1], {"a": 1}, None, True, 1.5, "nan", "", "\0", "\ud800", 10**30, -1)),
        *({"exp": value} for value in ("soon", [1], {}, None, float("nan"), float("inf"), 10**30, -1, True)),
        *({"iat": value} for value in ("soon", [1], {}, None, float("nan"), float("inf"), 10**30, -(10**30))),
        *({"jti": value} for value in (None, [1], 7)),
        *({"token_type": value} for value in (None, [1], 7, "refresh\0")),
        *({"nbf": value} for value in ("soon", [1], float("nan"), 10**30)),
        {"aud": [1]},
    ],
    ids=repr,
)
@pytest.mark.parametrize("token_class", [AccessToken, RefreshToken])
def test_claims_of_odd_types_are_refused(anonymous: Any, claims: dict[str, Any], token_class: Any) -> None:
    token = token_class()
    token.payload |= {"user_id": "2", **claims}
    raw = str(token)
    for path, body in (("/api/token/refresh/", {"refresh": raw}), ("/api/token/verify/", {"token": raw})):
        answer = anonymous.send("POST", path, **body)
        assert answer.status == 200 or answer.problem["status"] in (400, 401)
    for method, path in (("POST", "/api/ws-ticket/"), ("GET", "/api/rooms/"), ("POST", "/api/logout-everywhere/")):
        answer = anonymous.request(method, path, Authorization=f"Bearer {raw}")
        assert answer.status in (200, 204) or answer.problem["status"] == 401


@pytest.mark.parametrize("claims", [{"user_id": [1]}, {"user_id": None}, {"user_id": "77"}, {"iat": [1]}, {"iat": "x"}])
def test_a_refresh_token_with_claims_of_odd_types_is_not_renewed(anonymous: Any, claims: dict[str, Any]) -> None:
    token = RefreshToken()
    token.payload |= {"user_id": "2", **claims}
    assert anonymous.send("POST", "/api/token/refresh/", refresh=str(token)).problem["status"] == 401


def test_a_room_that_two_create_at_once_is_made_once(admin: Any) -> None:
    names = [uuid.uuid4().hex for _ in range(10)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        requests = [(name, pool.submit(admin.send, "POST", "/api/rooms/", room=name)) for name in names * 4]
        answers = [(name, request.result()) for name, request in requests]
    for name in names:
        assert sorted(answer.status for other, answer in answers if other == name) == [201, 400, 400, 400]
    refused = [answer for _, answer in answers if answer.status == 400]
    assert {answer.problem["detail"] for answer in refused} == {"room: This name is taken."}


def test_each_wrong_field_has_its_own_error(admin: Any) -> None:
    problem = admin.send("POST", "/api/rooms/", room="no spaces", member_limit="many").problem
    assert problem["errors"] == {
        "room": ["Letters, digits, '-' and '_' only."],
        "member_limit": ["A valid integer is required."],
    }
    assert problem["detail"] == "room: Letters, digits, '-' and '_' only. member_limit: A valid integer is required."


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nowhere/", 404),
        ("DELETE", "/api/rooms/", 405),
        ("PUT", "/api/token/", 405),
        ("GET", "/api/rooms/nowhere/", 404),
        ("POST", "/api/ws-ticket/", 401),
        ("POST", "/api/token/", 400),
    ],
)
def test_every_refusal_is_a_problem_document(anonymous: Any, method: str, path: str, status: int) -> None:
    answer = anonymous.request(method, path, b"{}" if method == "POST" else None)
    assert answer.problem["status"] == status
    if status == 405:
        assert answer.headers["allow"]
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_another_content_type_is_refused(anonymous: Any) -> None:
    assert anonymous.request("POST", "/api/token/", b"a=b", Content_Type="text/plain").problem["status"] == 415


def test_a_void_token_is_refused_with_its_code(anonymous: Any) -> None:
    problem = anonymous.send("POST", "/api/token/verify/", token="nonsense").problem
    assert (problem["status"], problem["code"]) == (401, "token_not_valid")
