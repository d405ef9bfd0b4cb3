"""System checks of a deployment."""

from __future__ import annotations

import pytest

from realtime.engine import checks

FORWARDED_PROTO = ("HTTP_X_FORWARDED_PROTO", "https")
NOT_A_FOLDER = {"staticfiles": {"BACKEND": "django.core.files.storage.InMemoryStorage"}}


def ids(messages) -> list[str]:
    return [message.id for message in messages]


@pytest.fixture
def deployed(settings, tmp_path):
    """A site that has been deployed, with an empty folder for its static files."""
    settings.DEBUG = False
    settings.INSTALLED_APPS = [*{*settings.INSTALLED_APPS, "django.contrib.staticfiles"}]
    settings.STATIC_URL = "/static/"
    settings.STATIC_ROOT = str(tmp_path / "staticfiles")
    (tmp_path / "staticfiles").mkdir()
    return settings


def test_an_empty_folder_of_static_files_is_a_warning_that_names_the_command(deployed) -> None:
    [warning] = checks.check_static_files(None)
    assert warning.id == "realtime.W004"
    assert deployed.STATIC_ROOT in warning.msg
    assert "collectstatic" in warning.hint


@pytest.mark.parametrize("root", [None, "/there/is/no/such/folder"])
def test_a_folder_of_static_files_that_is_not_there_is_a_warning(deployed, root) -> None:
    deployed.STATIC_ROOT = root
    assert ids(checks.check_static_files(None)) == ["realtime.W004"]


def test_static_files_that_were_collected_pass(deployed, tmp_path) -> None:
    (tmp_path / "staticfiles" / "site.css").touch()
    assert checks.check_static_files(None) == []


@pytest.mark.parametrize("change", [{"DEBUG": True}, {"STORAGES": NOT_A_FOLDER}, {"INSTALLED_APPS": []}])
def test_static_files_that_are_not_in_a_folder_of_this_machine_are_not_looked_for(deployed, change) -> None:
    for name, value in change.items():
        setattr(deployed, name, value)
    assert checks.check_static_files(None) == []


#: Redirect to TLS, the header with the scheme, trusted proxies, and the check that speaks.
PROXIES = [
    (True, FORWARDED_PROTO, 1, []),
    (False, None, 0, []),
    (True, None, 0, ["realtime.W005"]),
    (True, None, 1, ["realtime.W005"]),
    (False, FORWARDED_PROTO, 0, ["realtime.W006"]),
    (True, FORWARDED_PROTO, 0, ["realtime.W006"]),
]


@pytest.mark.parametrize(("redirects", "header", "proxies", "found"), PROXIES)
def test_proxies_agree_with_what_is_believed_of_a_request(settings, redirects, header, proxies, found) -> None:
    settings.SECURE_SSL_REDIRECT, settings.SECURE_PROXY_SSL_HEADER = redirects, header
    settings.REALTIME_TRUSTED_PROXIES = proxies
    messages = checks.check_proxies(None)
    assert ids(messages) == found
    assert all("REALTIME_TRUSTED_PROXIES" in message.hint for message in messages)
