"""Forms of the account pages."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.forms import UserCreationForm
from django.db import IntegrityError, transaction

User: Any = get_user_model()


class RegistrationForm(UserCreationForm):
    """Asks for the login name, an email address and a password, typed twice.

    A link to a new password goes to the email address.
    """

    class Meta(UserCreationForm.Meta):
        model = User
        # One field where people log in by their email address.
        fields = tuple(dict.fromkeys((User.USERNAME_FIELD, User.get_email_field_name())))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        email = self.fields[User.get_email_field_name()]
        email.required = True
        email.widget.attrs["autocomplete"] = "email"

    def save_or_refuse(self) -> Any:
        """Return the new user; None, with an error in the form, if its login name was taken since it was checked."""
        try:
            with transaction.atomic():
                return self.save()
        except IntegrityError:
            self.validate_unique()
            if not self.errors:
                raise
            return None
