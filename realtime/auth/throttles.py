"""Throttles of the HTTP endpoints that check passwords."""

from __future__ import annotations

import hashlib

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from realtime.cache import limit_cache

__all__ = ["AddressThrottle", "UsernameThrottle"]


class _LoginThrottle(SimpleRateThrottle):
    """Allows ``REALTIME_AUTH_FAILURES_PER_MINUTE`` attempts; 0 is no limit."""

    cache = limit_cache

    def get_rate(self) -> str | None:
        """Return the rate in DRF's words."""
        limit = settings.REALTIME_AUTH_FAILURES_PER_MINUTE
        return f"{limit}/minute" if limit else None


class AddressThrottle(_LoginThrottle):
    """Counts attempts from one address, behind the trusted proxies."""

    def get_cache_key(self, request: Request, view: APIView) -> str:
        """Return the address's key."""
        return f"realtime:login:address:{self.get_ident(request)}"


class UsernameThrottle(_LoginThrottle):
    """Counts attempts on one account, wherever they come from."""

    def get_cache_key(self, request: Request, view: APIView) -> str:
        """Return the account's key; hashed, because a name may hold anything."""
        username = str(request.data.get("username", "")).casefold() if isinstance(request.data, dict) else ""
        return f"realtime:login:username:{hashlib.sha256(username.encode('utf-8', 'replace')).hexdigest()}"
