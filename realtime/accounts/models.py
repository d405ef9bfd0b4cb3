"""The user model of this project.

It is the project's own from the first migration on: a user model cannot be exchanged later.
"""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """A person who can log in. Add your fields here."""
