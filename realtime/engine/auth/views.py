"""``/api/ws-ticket/``: a one-time ticket for a token or a session."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from realtime.engine.auth.revocable import GENERATION
from realtime.engine.auth.sessions import open_session
from realtime.engine.auth.tickets import LIFETIME, issue_ticket
from realtime.engine.connections.registry import LoginSession

__all__ = ["TicketView"]


class TicketSerializer(serializers.Serializer):
    """A ticket and the seconds within which it must be used."""

    ticket = serializers.CharField(read_only=True)
    expires_in = serializers.IntegerField(read_only=True)


class TicketView(APIView):
    """Gives an authenticated user a ticket; the token or session that asked for it bounds the connection."""

    @extend_schema(summary="Get a ticket for one connection", request=None, responses=TicketSerializer)
    def post(self, request: Request) -> Response:
        """Return ``{"ticket": "...", "expires_in": 30}``."""
        token: Any = request.auth  # the access token; None for a session
        if token is None:
            ticket = issue_ticket(request.user.pk, session=_session_behind(request))
        else:
            ticket = issue_ticket(request.user.pk, token.get("exp"), generation=token.get(GENERATION))
        return Response({"ticket": ticket, "expires_in": LIFETIME}, headers={"Cache-Control": "no-store"})


def _session_behind(request: Request) -> LoginSession | None:
    """Return the session that authenticated a request; None where something else did.

    Raises:
        NotAuthenticated: if it has ended; a copy of a cookie that holds its session says so to nobody else.
    """
    if not isinstance(request.successful_authenticator, SessionAuthentication):
        return None
    opened = open_session(request.COOKIES.get(settings.SESSION_COOKIE_NAME, ""))
    if opened is None:
        raise NotAuthenticated("The session has ended.")
    return opened[1]
