"""Limits wrong passwords: for one account from one address, and from one address for all accounts.

Guesses from many addresses do not lock the owner out, and guesses for one account do not lock out the others behind
the same address. The backend serves every login: the page, the admin, ``/api/token/`` and your own.
"""

from __future__ import annotations

import hashlib
import logging
import math
import unicodedata
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.deprecation import MiddlewareMixin
from rest_framework.exceptions import Throttled

from realtime.engine.auth.throttling import Count, failures_of
from realtime.engine.handshake.addresses import limited_network, request_address
from realtime.engine.monitoring.logs import event

logger = logging.getLogger("realtime.auth")

#: Seconds in which wrong passwords for one account from one address are counted.
ACCOUNT_WINDOW = 15 * 60


class TooManyAttempts(Throttled):
    """Nothing was checked or done; REST framework answers with 429 and ``Retry-After``."""

    default_detail = "Too many attempts."
    wait: float


class PasswordBackend(ModelBackend):
    """Django's backend, which counts an attempt before it checks the password, and uncounts it if that is right.

    Parallel attempts cannot pass a limit together. An attempt without a request, as a command makes it, does not count.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> Any:
        """Return the user with this name and password.

        Raises:
            TooManyAttempts: after ``REALTIME_LOGIN_FAILURES`` for the account from this address, or
                ``REALTIME_AUTH_FAILURES_PER_MINUTE`` from this address.
        """
        name = kwargs.get(get_user_model().USERNAME_FIELD) if username is None else username
        if request is None or name is None or password is None:
            return super().authenticate(request, username, password, **kwargs)
        address = request_address(request)
        network = limited_network(address) or "local"
        _count(of_account := _failures_of_account(network, name), settings.REALTIME_LOGIN_FAILURES, network)
        _count(of_address := failures_of(address), settings.REALTIME_AUTH_FAILURES_PER_MINUTE, network)
        user = super().authenticate(request, username, password, **kwargs)
        if user is not None:
            of_account.reset()
            of_address.add(-1)
        return user

    #: Calls ``authenticate()``; that of ``ModelBackend`` would check the password itself.
    aauthenticate = BaseBackend.aauthenticate  # type: ignore[assignment]  # it takes the name as a keyword


class TooManyAttemptsMiddleware(MiddlewareMixin):
    """Answers ``TooManyAttempts`` with a page where no API view handles it."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the page with status 429."""
        if not isinstance(exception, TooManyAttempts):
            return None
        context = {"minutes": math.ceil(exception.wait / 60)}
        response = render(request, "realtime/too_many_attempts.html", context, status=429)
        response.headers["Retry-After"] = str(exception.wait)
        response.headers["Cache-Control"] = "no-store"
        return response


def limit_requests(request: HttpRequest, name: str, limit: int, window: int) -> None:
    """Count a request of an address, such as one for an account or for an email. Synchronous.

    Args:
        request: the request.
        name: what is counted, apart from everything else.
        limit: how many are allowed in a window of time; 0 is no limit.
        window: length of the window in seconds.

    Raises:
        TooManyAttempts: after ``limit`` requests.
    """
    network = limited_network(request_address(request)) or "local"
    _count(Count(f"{name}:{network}", window), limit, network)


def _count(attempts: Count, limit: int, network: str) -> None:
    if limit and attempts.add() > limit:
        event(logger, logging.WARNING, "request refused", cause="too many attempts", client=network)
        raise TooManyAttempts(attempts.seconds_left())


def _failures_of_account(network: str, name: str) -> Count:
    """Return the count of an account; its name is hashed, because it may hold anything and may be a password."""
    normal = unicodedata.normalize("NFKC", str(name)).casefold()
    digest = hashlib.sha256(normal.encode("utf-8", "replace")).hexdigest()
    return Count(f"logins:{network}:{digest}", ACCOUNT_WINDOW)
