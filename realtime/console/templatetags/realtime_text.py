"""How the text of docstrings is shown in a page."""

from __future__ import annotations

import re

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

_LITERAL = re.compile(r"``(.+?)``")


@register.filter
def literals(text: str) -> SafeString:
    """Show the double-backquoted literals of a docstring as code; everything is escaped."""
    return mark_safe(_LITERAL.sub(r"<code>\1</code>", escape(text)))  # noqa: S308  escaped before
