"""The app of the users."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    """Users, and the pages on which they register, log in and look after their account."""

    name = "realtime.accounts"
    verbose_name = _("Accounts")
