"""The admin of rooms, messages, users and live connections."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from realtime.engine.connections.models import LiveConnection, Process
from realtime.engine.testing import create_user, login_name
from realtime.engine.topics.presence import Change, store_changes
from realtime.rooms.models import Membership, Role, Room, RoomMessage, topic_of

User = get_user_model()

EVIL = '<script>alert(1)</script> <img src=x onerror="alert(2)"> <a href="javascript:alert(3)">x</a>'

LISTS = {
    "rooms": "/admin/rooms/room/",
    "messages": "/admin/rooms/roommessage/",
    "live connections": "/admin/connections/liveconnection/",
    "users": reverse(f"admin:{User._meta.app_label}_{User._meta.model_name}_changelist"),
}


@pytest.fixture
def staff(transactional_db: None) -> Client:
    """A browser in which an administrator is logged in."""
    client = Client()
    client.force_login(create_user("admin", is_staff=True, is_superuser=True))
    return client


def fill(count: int) -> None:
    """Put ``count`` more of everything into the database."""
    process = Process.objects.create(
        pk=uuid.uuid4(), host="host", pid=7, expires_at=timezone.now() + datetime.timedelta(minutes=1)
    )
    for _ in range(count):
        user = create_user(uuid.uuid4().hex)
        room = Room.objects.create(slug=uuid.uuid4().hex)
        add_message(room, "hello")
        enter(room, process.pk, user.get_username())
        LiveConnection.objects.create(
            channel=uuid.uuid4().hex, process=process.pk, user=user, endpoint="/ws", since=timezone.now()
        )


def enter(room: Room, process: uuid.UUID, name: str) -> None:
    """Let somebody be in a room."""
    store_changes([Change(topic_of(room.slug), process, "c", "k", {"name": name})])


def add_message(room: Room, content: str) -> RoomMessage:
    """Store a message as it stands."""
    seq = room.messages.count() + 1
    Room.objects.filter(pk=room.pk).update(last_seq=seq)
    return RoomMessage.objects.create(
        room=room, seq=seq, name="ann", content=content, at=timezone.now(), idempotency_key=uuid.uuid4().hex
    )


@pytest.mark.parametrize("path", LISTS.values(), ids=LISTS)
def test_a_list_costs_as_many_queries_with_many_rows_as_with_few(staff: Client, path: str) -> None:
    fill(1)
    staff.get(path)
    with CaptureQueriesContext(
        connection,
    ) as few:
        assert staff.get(path).status_code == 200
    fill(30)
    with CaptureQueriesContext(connection) as many:
        assert staff.get(path).status_code == 200
    assert len(many) == len(few)


@pytest.mark.soak
def test_a_hundred_thousand_messages_cost_the_list_no_query_more(staff: Client) -> None:
    room = Room.objects.create(slug="full")
    rows = [
        RoomMessage(room=room, seq=seq, name="ann", content="hay", at=timezone.now(), idempotency_key=str(seq))
        for seq in range(1, 100_001)
    ]
    RoomMessage.objects.bulk_create(rows, batch_size=5000)
    for query in ("", "?q=needle", "?is_hidden__exact=0", "?o=-4"):
        with CaptureQueriesContext(connection) as queries:
            page = staff.get(f"/admin/rooms/roommessage/{query}")
        assert page.status_code == 200
        assert len(queries) <= 6
        assert len(page.context["cl"].result_list) <= 100


@pytest.mark.parametrize("path", ["/admin/rooms/roommessage/", "/admin/rooms/roommessage/{pk}/change/"])
def test_markup_in_a_message_is_inert(staff: Client, path: str) -> None:
    message = add_message(Room.objects.create(slug="room", title=EVIL), EVIL)
    page = staff.get(path.replace("{pk}", str(message.pk))).content.decode()
    assert "&lt;script&gt;alert(1)" in page
    for dangerous in ("<script>alert", "<img src=x", 'href="javascript:'):
        assert dangerous not in page


def act(staff: Client, path: str, action: str, row: Any, **data: str) -> Any:
    """Perform an action of a list on one row."""
    return staff.post(path, {"action": action, "_selected_action": [row.pk], **data}, follow=True)


def test_archive_and_reopen(staff: Client) -> None:
    room = Room.objects.create(slug="room")
    act(staff, LISTS["rooms"], "archive", room)
    assert Room.objects.get().is_archived
    act(staff, LISTS["rooms"], "reopen", room)
    assert not Room.objects.get().is_archived


def test_an_announcement_is_a_message_of_the_administrator(staff: Client) -> None:
    room = Room.objects.create(slug="room")
    form = act(staff, LISTS["rooms"], "announce", room)
    assert b"<textarea" in form.content
    act(staff, LISTS["rooms"], "announce", room, content="Tonight at ten")
    message = RoomMessage.objects.get()
    assert (message.seq, message.name, message.content) == (1, login_name("admin"), "Tonight at ten")


def test_an_announcement_to_an_archived_room_is_refused_with_the_reason(staff: Client) -> None:
    room = Room.objects.create(slug="room", is_archived=True)
    page = act(staff, LISTS["rooms"], "announce", room, content="x").content.decode()
    assert "archived" in page
    assert not RoomMessage.objects.exists()


def test_hide_and_show(staff: Client) -> None:
    message = add_message(Room.objects.create(slug="room"), "rude")
    act(staff, LISTS["messages"], "hide", message)
    assert RoomMessage.objects.get().is_hidden
    act(staff, LISTS["messages"], "show", message)
    assert not RoomMessage.objects.get().is_hidden


def test_saving_a_form_that_was_opened_before_the_last_message_keeps_the_numbering(staff: Client) -> None:
    room = Room.objects.create(slug="room")
    stale = Room.objects.get(pk=room.pk)
    add_message(room, "while the form was open")
    stale.title = "changed"
    stale.save()
    fresh = Room.objects.get()
    assert (fresh.title, fresh.last_seq, fresh.access_version) == ("changed", 1, 1)


def test_a_room_is_made_and_shown_and_keeps_its_name(staff: Client) -> None:
    path = f"{LISTS['rooms']}add/"
    assert "epoch" not in staff.get(path).content.decode()
    inline = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    staff.post(path, {"slug": "room", "title": "Ours", **inline})
    room = Room.objects.get(slug="room")
    enter(room, uuid.uuid4(), "bob")
    path = f"{LISTS['rooms']}{room.pk}/change/"
    page = staff.get(path).content.decode()
    assert all(shown in page for shown in (str(room.epoch), "bob", f"room__id__exact={room.pk}"))
    staff.post(path, {"slug": "other", "title": "Theirs", **inline})
    room.refresh_from_db()
    assert (room.slug, room.title) == ("room", "Theirs")


def test_memberships_stand_in_the_room(staff: Client) -> None:
    room = Room.objects.create(slug="room")
    user = create_user("bob")
    Membership.objects.create(room=room, user=user)
    path = f"/admin/rooms/room/{room.pk}/change/"
    membership = Membership.objects.get()
    staff.post(
        path,
        {
            "title": "",
            "is_public": "on",
            "memberships-TOTAL_FORMS": "1",
            "memberships-INITIAL_FORMS": "1",
            "memberships-0-id": membership.pk,
            "memberships-0-room": room.pk,
            "memberships-0-user": user.pk,
            "memberships-0-role": Role.BANNED,
        },
    )
    assert Membership.objects.get().role == Role.BANNED


def test_connections_of_a_process_that_has_ended_are_not_listed(staff: Client) -> None:
    fill(1)
    Process.objects.update(expires_at=timezone.now() - datetime.timedelta(seconds=1))
    page = staff.get(LISTS["live connections"])
    assert page.context["cl"].result_count == 0


def test_nobody_edits_or_deletes_messages_and_connections(staff: Client) -> None:
    message = add_message(Room.objects.create(slug="room"), "said")
    assert staff.get("/admin/rooms/roommessage/add/").status_code == 403
    assert staff.post(f"/admin/rooms/roommessage/{message.pk}/delete/", {"post": "yes"}).status_code == 403
    assert staff.get("/admin/connections/liveconnection/add/").status_code == 403


def test_a_room_is_deleted_with_its_messages(staff: Client) -> None:
    room = Room.objects.create(slug="room")
    add_message(room, "said")
    page = staff.get(f"/admin/rooms/room/{room.pk}/delete/").content.decode()
    assert "room, with its 1 messages" in page
    staff.post(f"/admin/rooms/room/{room.pk}/delete/", {"post": "yes"})
    assert not Room.objects.exists()
    assert not RoomMessage.objects.exists()


def test_a_user_who_is_online_can_be_deleted(staff: Client) -> None:
    fill(1)
    user = User.objects.exclude(is_superuser=True).get()
    staff.post(f"{LISTS['users']}{user.pk}/delete/", {"post": "yes"})
    assert not User.objects.filter(pk=user.pk).exists()
    assert LiveConnection.objects.get().user is None
