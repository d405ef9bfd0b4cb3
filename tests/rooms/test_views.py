"""The page of a room as an HTTP client sees it: who may see it, and who may write."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest

from realtime.engine.testing import create_user, login_name
from realtime.rooms.models import Membership, Role, Room
from realtime.rooms.permissions import Person, name_of

pytestmark = pytest.mark.django_db

WRITES = 'name="content"'


@pytest.fixture
def ann():
    return create_user("ann")


def page_of(client, user, **settings):
    Room.objects.create(slug="lobby", **settings)
    if user is not None:
        client.force_login(user)
    return client.get("/rooms/lobby/")


def test_a_user_may_write_in_a_public_room(client, ann):
    assert WRITES in page_of(client, ann).content.decode()


def test_an_anonymous_user_reads_a_public_room_and_is_offered_the_login(client):
    html = page_of(client, None).content.decode()
    assert WRITES not in html
    assert "/login/?next=%2Frooms%2Flobby%2F" in html


def test_an_anonymous_user_may_write_where_the_room_says_so(client):
    assert WRITES in page_of(client, None, anonymous_may_post=True).content.decode()


@pytest.mark.parametrize("settings", [{"is_public": False}, {"anonymous_may_read": False}])
def test_an_anonymous_user_does_not_learn_that_a_closed_room_exists(client, settings):
    assert page_of(client, None, **settings).status_code == 404


def test_a_user_does_not_learn_that_a_private_room_exists(client, ann):
    assert page_of(client, ann, is_public=False).status_code == 404


def test_a_banned_user_is_not_let_in(client, ann):
    room = Room.objects.create(slug="lobby")
    Membership.objects.create(room=room, user=ann, role=Role.BANNED)
    client.force_login(ann)
    page = client.get("/rooms/lobby/")
    assert page.status_code == 403
    assert "You are banned from this room." in page.text
    page = client.get("/rooms/lobby/", headers={"accept-language": "de"})
    assert "Der Zutritt zu diesem Raum ist gesperrt." in page.text


def test_an_archived_room_can_only_be_read_and_says_why(client, ann):
    html = page_of(client, ann, is_archived=True).content.decode()
    assert WRITES not in html
    assert "archived" in html


@pytest.mark.parametrize(
    ("creation", "signed_in", "status"),
    [("anyone", False, 200), ("authenticated", False, 404), ("authenticated", True, 200), ("staff", True, 404)],
)
def test_the_page_of_a_room_that_does_not_exist_is_for_those_who_may_make_it(
    client, ann, settings, creation, signed_in, status
):
    settings.REALTIME_ROOM_CREATION = creation
    if signed_in:
        client.force_login(ann)
    assert client.get("/rooms/new/").status_code == status
    assert not Room.objects.exists()


def test_a_room_is_made_when_its_form_is_sent(client, ann):
    client.force_login(ann)
    page = client.get("/rooms/new/")
    assert "There is no room of this name yet." in page.text
    assert client.post("/rooms/new/").headers["Location"] == "/rooms/new/"
    assert Membership.objects.get(user=ann, room__slug="new").role == Role.MODERATOR
    assert WRITES in client.get("/rooms/new/").text


def test_a_room_that_an_anonymous_user_makes_lets_anonymous_users_write(client, settings):
    settings.REALTIME_ROOM_CREATION = "anyone"
    client.post("/rooms/new/")
    assert WRITES in client.get("/rooms/new/").text


def test_nobody_makes_a_room_who_may_not(client):
    assert client.post("/rooms/new/").status_code == 404
    assert not Room.objects.exists()


def test_a_room_over_the_quota_is_not_made(client, ann, settings):
    settings.REALTIME_ROOMS_PER_HOUR = 1
    client.force_login(ann)
    client.post("/rooms/one/")
    page = client.post("/rooms/two/")
    assert page.status_code == 429
    assert "many rooms within an hour" in page.text
    assert Room.objects.count() == 1


def test_a_room_has_its_title_in_its_heading(client, ann):
    html = page_of(client, ann, title="The lobby").text
    assert '<h1 dir="auto">The lobby</h1>' in html
    assert "<title>The lobby · " in html


def test_an_anonymous_user_keeps_a_name_in_a_browser(client):
    first = page_of(client, None, anonymous_may_post=True)
    name = re.search(r'"me": "(anonymous-[0-9a-f]{8})"', first.text)[1]
    assert f'"me": "{name}"' in client.get("/rooms/lobby/").text
    assert f'"me": "{name}"' not in type(client)().get("/rooms/lobby/").text


def test_a_user_who_is_logged_in_gets_no_cookie_of_an_anonymous_one(client, ann):
    assert "anonymous" not in page_of(client, ann).cookies


def test_a_name_that_no_room_can_have_is_not_found(client, ann):
    client.force_login(ann)
    assert client.get(f"/rooms/{'x' * 65}/").status_code == 404


def test_rooms_are_listed_to_those_who_may_enter_them(client, db):
    ann = create_user("ann")
    rooms = {
        "open": Room.objects.create(slug="open"),
        "users": Room.objects.create(slug="users", anonymous_may_read=False),
        "members": Room.objects.create(slug="members", is_public=False),
        "others": Room.objects.create(slug="others", is_public=False),
        "banned": Room.objects.create(slug="banned"),
        "old": Room.objects.create(slug="old", is_archived=True),
    }
    Membership.objects.create(room=rooms["members"], user=ann)
    Membership.objects.create(room=rooms["banned"], user=ann, role=Role.BANNED)
    assert listed(client) == ["banned", "open"]
    client.force_login(ann)
    assert listed(client) == ["members", "open", "users"]
    client.force_login(create_user("root", is_staff=True, is_superuser=True))
    assert listed(client) == ["banned", "members", "open", "others", "users"]


def listed(client) -> list[str]:
    return re.findall(r'href="/rooms/([^/"]+)/"', client.get("/rooms/").content.decode())


def test_a_room_is_opened_by_its_name(client, db):
    assert client.get("/rooms/?name=my-room").headers["Location"] == "/rooms/my-room/"
    assert client.get("/rooms/?name=../admin").status_code == 200


@pytest.mark.parametrize("name", ["a/b", "a+b", "ä b"])
def test_a_member_is_removed_whatever_the_login_name_is(client, db, name):
    user = create_user(name)
    room = Room.objects.create(slug="lobby")
    Membership.objects.create(room=room, user=user)
    client.force_login(create_user("root", is_staff=True))
    assert client.delete(f"/api/rooms/lobby/memberships/{quote(login_name(name), safe='')}/").status_code == 204
    assert not Membership.objects.exists()


def test_a_name_that_others_see_fits_its_column(db):
    user = create_user("x" * 200)
    assert name_of(user) == "x" * 150
    assert Person.of(user, "c").name == name_of(user)
