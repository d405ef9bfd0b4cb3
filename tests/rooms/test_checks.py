"""What ``manage.py check`` says about the settings of the rooms."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.checks import run_checks
from django.test import override_settings

from realtime.rooms.permissions import may_create

User = get_user_model()

ANONYMOUS, USER, STAFF = AnonymousUser(), User(), User(is_staff=True)


@pytest.mark.parametrize(
    ("name", "value", "ids"),
    [
        ("REALTIME_ROOM_CREATION", "anyone", []),
        ("REALTIME_ROOM_CREATION", "authenticated", []),
        ("REALTIME_ROOM_CREATION", "staff", []),
        ("REALTIME_ROOM_CREATION", "everyone", ["rooms.E001"]),
        ("REALTIME_ROOMS", {"burst": 10}, []),
        ("REALTIME_ROOMS", {"brust": 10}, ["rooms.E002"]),
        ("REALTIME_ROOMS", {"burst": 0}, ["rooms.E002"]),
        ("REALTIME_ROOMS", {"burst": "10"}, ["rooms.E002"]),
        ("REALTIME_ROOMS", {"burst": True}, ["rooms.E002"]),
    ],
)
def test_a_setting_that_cannot_be_meant_is_an_error(name: str, value: Any, ids: list[str]) -> None:
    with override_settings(**{name: value}):
        assert [problem.id for problem in run_checks(tags=["rooms"])] == ids


@pytest.mark.parametrize(
    ("creation", "allowed"),
    [
        ("anyone", [True, True, True]),
        ("authenticated", [False, True, True]),
        ("staff", [False, False, True]),
        ("everyone", [False, False, True]),
    ],
)
def test_who_may_create_rooms(creation: str, allowed: list[bool]) -> None:
    with override_settings(REALTIME_ROOM_CREATION=creation):
        assert [may_create(user) for user in (ANONYMOUS, USER, STAFF)] == allowed
