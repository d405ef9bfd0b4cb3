"""Users in the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

pytestmark = pytest.mark.django_db

User = get_user_model()
USERS = "admin:accounts_user_changelist"


@pytest.fixture
def staff() -> Client:
    """A browser in which an administrator is logged in."""
    client = Client()
    client.force_login(User.objects.create_superuser("staff"))
    return client


def act(staff: Client, action: str, *users: Any) -> str:
    form = {"action": action, "_selected_action": [user.pk for user in users]}
    return staff.post(reverse(USERS), form, follow=True).text


def test_staff_log_a_user_out_everywhere(staff: Client) -> None:
    ann = User.objects.create_user("ann")
    browser = Client()
    browser.force_login(ann)
    assert f"Logged out: {ann.get_username()}." in act(staff, "log_out_everywhere", ann)
    assert browser.get("/account/").status_code == 302
    assert staff.get("/account/").status_code == 200


def test_staff_disconnect_users_who_stay_logged_in(staff: Client) -> None:
    ann = User.objects.create_user("ann")
    browser = Client()
    browser.force_login(ann)
    assert f"Disconnected: {ann.get_username()}." in act(staff, "disconnect", ann)
    assert browser.get("/account/").status_code == 200


def test_staff_add_and_change_a_user(staff: Client) -> None:
    password = "correct horse battery staple"
    form = {
        User.USERNAME_FIELD: "bob",
        "password1": password,
        "password2": password,
        "usable_password": "true",
    }
    assert staff.post(reverse("admin:accounts_user_add"), form).status_code == 302
    bob = User.objects.get_by_natural_key("bob")
    assert bob.check_password(password)
    assert staff.get(reverse("admin:accounts_user_change", args=[bob.pk])).status_code == 200
