"""Users for examples and tests, whatever field the project's user model logs in by."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import EmailField

__all__ = ["create_user", "credentials", "login_name"]

#: Of every made-up email address; nothing is ever delivered to this domain (RFC 2606).
DOMAIN = "example.com"


def login_name(name: str) -> str:
    """Return what a user called ``name`` logs in by: the name, or ``name@example.com`` where that is an email address.

    Args:
        name: a short name, such as ``"ann"``.
    """
    model: Any = get_user_model()
    by_email = isinstance(model._meta.get_field(model.USERNAME_FIELD), EmailField)
    return f"{name}@{DOMAIN}" if by_email else name


def credentials(name: str, password: str) -> dict[str, str]:
    """Return the body with which a user asks ``/api/token/`` for tokens.

    Args:
        name: a short name, such as ``"ann"``.
        password: the user's password.
    """
    return {get_user_model().USERNAME_FIELD: login_name(name), "password": password}


def create_user(name: str, password: str | None = None, **fields: Any) -> Any:
    """Create a user by the model's own manager.

    Args:
        name: a short name, such as ``"ann"``; ``login_name()`` makes it what the user logs in by.
        password: the password; None for a user who cannot log in.
        fields: further fields of the model.
    """
    model: Any = get_user_model()
    return model._default_manager.create_user(
        **{model.USERNAME_FIELD: login_name(name), "password": password, **fields}
    )
