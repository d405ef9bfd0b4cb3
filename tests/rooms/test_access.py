"""Who may do what in which room: one table, held against the rules, the socket and the API."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from realtime.engine.testing import login_name
from realtime.rooms.models import Room
from realtime.rooms.permissions import Action, Standing, decide

#: What bob logs in by.
BOB = login_name("bob")

OK, NO, UNKNOWN = None, "forbidden", "unknown_room"

ROOMS = {
    "open": Room(slug="r", anonymous_may_read=True, anonymous_may_post=True),
    "public": Room(slug="r", anonymous_may_read=True, anonymous_may_post=False),
    "signed in": Room(slug="r", anonymous_may_read=False, anonymous_may_post=False),
    "members": Room(slug="r", is_public=False),
    "archived": Room(slug="r", anonymous_may_post=True, is_archived=True),
    "archived members": Room(slug="r", is_public=False, is_archived=True),
}

#: Who in which room -> what comes of reading, posting, moderating.
TABLE: dict[tuple[Standing, str], tuple[str | None, str | None, str | None]] = {
    (Standing.ANONYMOUS, "open"): (OK, OK, NO),
    (Standing.ANONYMOUS, "public"): (OK, NO, NO),
    (Standing.ANONYMOUS, "signed in"): (UNKNOWN, UNKNOWN, UNKNOWN),
    (Standing.ANONYMOUS, "members"): (UNKNOWN, UNKNOWN, UNKNOWN),
    (Standing.ANONYMOUS, "archived"): (OK, NO, NO),
    (Standing.ANONYMOUS, "archived members"): (UNKNOWN, UNKNOWN, UNKNOWN),
    (Standing.OUTSIDER, "open"): (OK, OK, NO),
    (Standing.OUTSIDER, "public"): (OK, OK, NO),
    (Standing.OUTSIDER, "signed in"): (OK, OK, NO),
    (Standing.OUTSIDER, "members"): (UNKNOWN, UNKNOWN, UNKNOWN),
    (Standing.OUTSIDER, "archived"): (OK, NO, NO),
    (Standing.OUTSIDER, "archived members"): (UNKNOWN, UNKNOWN, UNKNOWN),
    (Standing.MEMBER, "open"): (OK, OK, NO),
    (Standing.MEMBER, "public"): (OK, OK, NO),
    (Standing.MEMBER, "signed in"): (OK, OK, NO),
    (Standing.MEMBER, "members"): (OK, OK, NO),
    (Standing.MEMBER, "archived"): (OK, NO, NO),
    (Standing.MEMBER, "archived members"): (OK, NO, NO),
    (Standing.MODERATOR, "open"): (OK, OK, OK),
    (Standing.MODERATOR, "public"): (OK, OK, OK),
    (Standing.MODERATOR, "signed in"): (OK, OK, OK),
    (Standing.MODERATOR, "members"): (OK, OK, OK),
    (Standing.MODERATOR, "archived"): (OK, NO, OK),
    (Standing.MODERATOR, "archived members"): (OK, NO, OK),
    (Standing.BANNED, "open"): (NO, NO, NO),
    (Standing.BANNED, "public"): (NO, NO, NO),
    (Standing.BANNED, "signed in"): (NO, NO, NO),
    (Standing.BANNED, "members"): (UNKNOWN, UNKNOWN, UNKNOWN),
    (Standing.BANNED, "archived"): (NO, NO, NO),
    (Standing.BANNED, "archived members"): (UNKNOWN, UNKNOWN, UNKNOWN),
}

#: Who is what, in the rooms of the site below.
USERS = {
    Standing.ANONYMOUS: None,
    Standing.OUTSIDER: "carol",
    Standing.MEMBER: "bob",
    Standing.MODERATOR: "alice",
    Standing.BANNED: "dave",
}

HTTP_STATUS = {"unknown_room": 404, "forbidden": 403}

IDS = [f"{standing} in {room}" for standing, room in TABLE]


def test_the_table_is_complete() -> None:
    assert set(TABLE) == {(standing, room) for standing in Standing for room in ROOMS}


@pytest.mark.parametrize(("place", "outcomes"), TABLE.items(), ids=IDS)
def test_the_rules_are_those_of_the_table(place: tuple[Standing, str], outcomes: tuple[str | None, ...]) -> None:
    standing, room = place
    for action, outcome in zip((Action.READ, Action.POST, Action.MODERATE), outcomes, strict=True):
        refusal = decide(standing, ROOMS[room], action)
        assert (None if refusal is None else refusal.code) == outcome


@pytest.fixture
async def prefix(site: Any) -> str:
    """Rooms of every kind, that nobody enters; their names begin with the prefix."""
    return await rooms_of_every_kind(site, "for_api")


@pytest.fixture
async def entered_prefix(site: Any) -> str:
    """Rooms of every kind, in which users of the socket may become members."""
    return await rooms_of_every_kind(site, "for_socket")


async def rooms_of_every_kind(site: Any, purpose: str) -> str:
    """Make rooms with a moderator, a member and somebody banned, once for each site and purpose."""
    made = site.processes[0].__dict__.setdefault("rooms_of_every_kind", {})
    if purpose not in made:
        prefix = made[purpose] = f"t{uuid.uuid4().hex[:8]}"
        await asyncio.gather(*(make_room(site, f"{prefix}-{name.replace(' ', '-')}", ROOMS[name]) for name in ROOMS))
    return str(made[purpose])


async def make_room(site: Any, slug: str, kind: Room) -> None:
    """Create a room over the API."""
    settings = {
        "is_public": kind.is_public,
        "anonymous_may_read": kind.anonymous_may_read,
        "anonymous_may_post": kind.anonymous_may_post,
        "is_archived": kind.is_archived,
    }
    assert (await site.api("POST", "/api/rooms/", "alice", room=slug, **settings))[0] == 201
    for user, role in (("bob", "member"), ("dave", "banned")):
        path = f"/api/rooms/{slug}/memberships/"
        assert (await site.api("POST", path, "alice", user=login_name(user), role=role))[0] == 201


@pytest.mark.parametrize(("place", "outcomes"), TABLE.items(), ids=IDS)
async def test_the_api_keeps_to_the_table(
    site: Any, prefix: str, place: tuple[Standing, str], outcomes: tuple[str | None, ...]
) -> None:
    standing, room = place
    path = f"/api/rooms/{prefix}-{room.replace(' ', '-')}/"
    user = USERS[standing]
    answers = [
        await site.api("GET", f"{path}messages/", user),
        await site.api("POST", f"{path}messages/", user, content="x"),
        await site.api("PATCH", path, user, title="x"),
    ]
    for (status, body), outcome, success in zip(answers, outcomes, (200, 201, 200), strict=True):
        assert status == (success if outcome is None else HTTP_STATUS[outcome]), body


@pytest.mark.parametrize("standing", USERS)
async def test_the_list_of_rooms_keeps_to_the_table(site: Any, prefix: str, standing: Standing) -> None:
    listed = [room["room"] for room in await all_rooms(site, USERS[standing])]
    for (other, room), outcomes in TABLE.items():
        if other is standing:
            assert (f"{prefix}-{room.replace(' ', '-')}" in listed) == (outcomes[0] is None), room


async def all_rooms(site: Any, user: str | None) -> list[dict[str, Any]]:
    """Return every page of the list of rooms."""
    path, rooms = "/api/rooms/", []
    while path:
        _, page = await site.api("GET", path, user)
        rooms += page["results"]
        path = (page["next"] or "").partition("/api/")[2]
        path = path and f"/api/{path}"
    return rooms


@pytest.mark.parametrize(("place", "outcomes"), TABLE.items(), ids=IDS)
async def test_the_socket_keeps_to_the_table(
    site: Any, entered_prefix: str, place: tuple[Standing, str], outcomes: tuple[str | None, ...]
) -> None:
    standing, kind = place
    room = f"{entered_prefix}-{kind.replace(' ', '-')}"
    reading, posting, _ = outcomes
    client = await site.client(USERS[standing])
    answer = await client.ask("Join", room=room)
    assert answer.get("code") == reading, answer
    if reading is None:
        answer = await client.ask("Chat", content="x")
        assert answer.get("code") == posting, answer


async def test_a_room_that_may_not_be_seen_is_answered_like_one_that_does_not_exist(site: Any, room: str) -> None:
    await make_room(site, room, ROOMS["members"])
    client = await site.client()
    hidden, missing = await client.ask("Join", room=room), await client.ask("Join", room="x" * len(room))
    assert hidden["detail"].replace(room, "?") == missing["detail"].replace("x" * len(room), "?")
    assert {**hidden, "detail": ""} == {**missing, "detail": ""}
    over_http = [await site.api("GET", f"/api/rooms/{slug}/", "carol") for slug in (room, "x" * len(room))]
    assert over_http[0][0] == over_http[1][0] == 404
    assert str(over_http[0][1]).replace(room, "?") == str(over_http[1][1]).replace("x" * len(room), "?")


async def test_a_full_room_lets_nobody_else_become_a_member(site: Any, room: str) -> None:
    assert (await site.api("POST", "/api/rooms/", "alice", room=room, member_limit=2))[0] == 201
    for user, code in (("bob", None), ("carol", "forbidden"), ("bob", None), ("alice", None)):
        client = await site.client(user)
        assert (await client.ask("Join", room=room)).get("code") == code, user


@pytest.mark.parametrize(
    ("change", "user"),
    [
        pytest.param(
            lambda site, room: site.api("DELETE", f"/api/rooms/{room}/memberships/{BOB}/", "alice"),
            "bob",
            id="removed",
        ),
        pytest.param(
            lambda site, room: site.api("POST", f"/api/rooms/{room}/memberships/", "alice", user=BOB, role="banned"),
            "bob",
            id="banned",
        ),
        pytest.param(
            lambda site, room: site.api("PATCH", f"/api/rooms/{room}/", "alice", anonymous_may_read=False),
            None,
            id="hidden",
        ),
        pytest.param(
            lambda site, room: site.manage(
                "from realtime.rooms.models import Room\nfrom realtime.rooms.services import close_room\n"
                f"close_room(Room.objects.get(slug='{room}'))"
            ),
            "bob",
            id="closed",
        ),
        pytest.param(
            lambda site, room: site.manage(
                f"from realtime.rooms.models import Room\nRoom.objects.get(slug='{room}').delete()"
            ),
            "bob",
            id="deleted",
        ),
    ],
)
async def test_a_member_who_loses_the_right_to_read_leaves_the_room(
    site: Any, room: str, change: Any, user: str | None
) -> None:
    assert (await site.api("POST", "/api/rooms/", "alice", room=room))[0] == 201
    client = await site.client(user)
    await client.join(room)
    await change(site, room)
    assert await client.until("Left") == {"type": "Left", "room": room}
    assert (await client.ask("Chat", content="x", room=room))["code"] == "not_joined"


async def test_promoting_and_silencing_take_effect_without_joining_again(site: Any, room: str) -> None:
    assert (await site.api("POST", "/api/rooms/", "alice", room=room))[0] == 201
    client = await site.client("bob")
    await client.join(room)
    await site.api("PATCH", f"/api/rooms/{room}/", "alice", is_archived=True)
    assert await client.until("Access") == {"type": "Access", "room": room, "may_post": False}
    assert (await client.ask("Chat", content="x"))["code"] == "forbidden"
    await site.api("PATCH", f"/api/rooms/{room}/", "alice", is_archived=False)
    assert await client.until("Access") == {"type": "Access", "room": room, "may_post": True}
    while (await client.ask("Chat", content="x"))["type"] != "Ack":
        pass  # the process has not heard of it yet


async def test_hiding_a_message_sends_hidden_and_takes_it_out_of_the_history(site: Any, room: str) -> None:
    alice = await site.client("alice")
    await alice.join(room)
    await alice.say("kept")
    await alice.say("hidden")
    await site.manage(
        "from realtime.rooms.models import RoomMessage\nfrom realtime.rooms.services import set_hidden\n"
        f"set_hidden(RoomMessage.objects.filter(room__slug='{room}', seq=2), True)"
    )
    if "REDIS_URL" in site.environment:
        assert await alice.until("Hidden") == {"type": "Hidden", "room": room, "seq": 2}
    page = await alice.ask("History", room=room)
    assert [message["content"] for message in page["messages"]] == ["kept"]
    await alice.say("numbers go on")
    assert [m["seq"] for m in (await alice.ask("History", room=room))["messages"]] == [1, 3]
