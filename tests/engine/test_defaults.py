"""What settings compute: emails, by the settings of the Django that is installed."""

from __future__ import annotations

from typing import Any

import environ
import pytest
from django.core import mail
from django.test import override_settings

from realtime.engine.defaults import EMAIL_TIMEOUT, email_settings


def mailer(url: str) -> Any:
    """Return what sends emails with ``EMAIL_URL`` set so."""
    with override_settings(**email_settings(environ.Env.email_url_config(url))):
        return mail.mailers["default"] if hasattr(mail, "mailers") else mail.get_connection()


@pytest.mark.parametrize(
    ("url", "tls", "ssl"),
    [
        ("smtp://ann:se%25cret@smtp.example.org:587", False, False),
        ("smtp+tls://ann:se%25cret@smtp.example.org:587", True, False),
        ("smtp+ssl://ann:se%25cret@smtp.example.org:587", False, True),
    ],
)
def test_emails_go_to_the_server_of_the_url_with_its_user(url: str, tls: bool, ssl: bool) -> None:
    sender = mailer(url)
    assert (sender.host, sender.port, sender.username, sender.password) == ("smtp.example.org", 587, "ann", "se%cret")
    assert (sender.use_tls, sender.use_ssl, sender.timeout) == (tls, ssl, EMAIL_TIMEOUT)


def test_emails_are_written_to_the_folder_of_the_url(tmp_path) -> None:
    assert mailer(f"filemail:///{tmp_path}").file_path == str(tmp_path)


def test_emails_are_printed_in_development() -> None:
    assert type(mailer("consolemail://")).__module__ == "django.core.mail.backends.console"
