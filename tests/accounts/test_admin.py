"""Users in the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from realtime.engine.testing import create_user, login_name

pytestmark = pytest.mark.django_db

User = get_user_model()
USERS = f"admin:{User._meta.app_label}_{User._meta.model_name}"


@pytest.fixture
def staff() -> Client:
    """A browser in which an administrator is logged in."""
    client = Client()
    client.force_login(create_user("staff", is_staff=True, is_superuser=True))
    return client


def act(staff: Client, action: str, *users: Any) -> str:
    form = {"action": action, "_selected_action": [user.pk for user in users]}
    return staff.post(reverse(f"{USERS}_changelist"), form, follow=True).text


def test_staff_log_a_user_out_everywhere(staff: Client) -> None:
    ann = create_user("ann")
    browser = Client()
    browser.force_login(ann)
    assert f"Logged out: {ann.get_username()}." in act(staff, "log_out_everywhere", ann)
    assert browser.get("/account/").status_code == 302
    assert staff.get("/account/").status_code == 200


def test_staff_disconnect_users_who_stay_logged_in(staff: Client) -> None:
    ann = create_user("ann")
    browser = Client()
    browser.force_login(ann)
    assert f"Disconnected: {ann.get_username()}." in act(staff, "disconnect", ann)
    assert browser.get("/account/").status_code == 200


def test_staff_add_and_change_a_user(staff: Client) -> None:
    password = "correct horse battery staple"
    form = {
        User.USERNAME_FIELD: login_name("bob"),
        "password1": password,
        "password2": password,
        "usable_password": "true",
    }
    assert staff.post(reverse(f"{USERS}_add"), form).status_code == 302
    bob = User.objects.get_by_natural_key(login_name("bob"))
    assert bob.check_password(password)
    assert staff.get(reverse(f"{USERS}_change", args=[bob.pk])).status_code == 200


def test_the_list_shows_who_is_online_and_is_searched_by_the_login_name(staff: Client) -> None:
    create_user("ann")
    page = staff.get(reverse(f"{USERS}_changelist"), {"q": login_name("ann")})
    assert page.context["cl"].result_count == 1
    assert "column-online" in page.text
