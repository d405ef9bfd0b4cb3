"""Tags that every template has, also the pages of errors, which are rendered without a request."""

from __future__ import annotations

from django import template
from django.conf import settings

register = template.Library()


@register.simple_tag
def site_name() -> str:
    """Return what pages call this site."""
    return settings.SITE_NAME


@register.simple_tag
def registration_is_open() -> bool:
    """Return whether people may register."""
    return settings.ACCOUNTS_REGISTRATION
