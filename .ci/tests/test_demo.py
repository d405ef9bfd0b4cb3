from __future__ import annotations

import io
import re

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.core.management import CommandError, call_command

from realtime.engine.testing import credentials, login_name

pytestmark = pytest.mark.django_db


def run_demo(**options: str) -> str:
    output = io.StringIO()
    call_command("demo", stdout=output, no_color=True, **options)
    return output.getvalue()


def test_the_first_run_makes_an_admin_and_a_user_and_prints_their_passwords(settings) -> None:
    settings.DEBUG = True
    passwords = dict(re.findall(r": (\S+) / (\S+)", run_demo()))
    assert passwords.keys() == {login_name("admin"), login_name("ann")}
    admin = authenticate(**credentials("admin", passwords[login_name("admin")]))
    ann = authenticate(**credentials("ann", passwords[login_name("ann")]))
    assert admin is not None
    assert admin.is_superuser
    assert ann is not None
    assert not ann.is_staff
    assert ann.email == "ann@example.com"


def test_the_second_run_changes_nothing(settings) -> None:
    settings.DEBUG = True
    run_demo(password="first")
    assert run_demo(password="second") == ""
    assert get_user_model().objects.get_by_natural_key(login_name("ann")).check_password("first")


def test_there_is_no_demo_data_in_production(settings) -> None:
    settings.DEBUG = False
    with pytest.raises(CommandError, match="DJANGO_DEBUG is off"):
        run_demo()
