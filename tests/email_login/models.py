"""The user model of this project: people log in by their email address."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models


class UserManager(BaseUserManager["User"]):
    """Makes users from an email address and a password."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Create a user; None is a password with which nobody logs in."""
        user = self.model(email=self.model.normalize_username(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Create a user who may do everything, as ``manage.py createsuperuser`` asks for."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, email: str | None) -> User:
        """Return the user who logs in by an address, however it is written."""
        return self.get(email=self.model.normalize_username(email or ""))


class User(AbstractBaseUser, PermissionsMixin):
    """A person who can log in. Add your fields here."""

    email = models.EmailField(
        "email address", unique=True, error_messages={"unique": "A user with that email address already exists."}
    )
    is_active = models.BooleanField("active", default=True)
    is_staff = models.BooleanField("staff status", default=False)
    date_joined = models.DateTimeField(auto_now_add=True)

    USERNAME_FIELD = EMAIL_FIELD = "email"
    objects = UserManager()

    class Meta:
        verbose_name = "user"

    @classmethod
    def normalize_username(cls, username: str) -> str:
        """Return an address as it is stored: two spellings of it are one user."""
        return super().normalize_username(username).lower()
