"""``/api/ws-ticket/`` and ``/api/logout-everywhere/``."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from realtime.engine.auth.authentication import GENERATION
from realtime.engine.auth.revocation import revoke_user
from realtime.engine.auth.serializers import TicketSerializer
from realtime.engine.auth.sessions import LoginSession, end_sessions, open_session
from realtime.engine.auth.tickets import LIFETIME, issue_ticket


class TicketView(APIView):
    """Gives an authenticated user a ticket; the connection ends with the token or session of the request."""

    @extend_schema(summary="Get a ticket for one connection", request=None, responses=TicketSerializer)
    def post(self, request: Request) -> Response:
        """Return ``{"ticket": "...", "expires_in": 30}``."""
        token: Any = request.auth  # the access token; None for a session
        if token is None:
            ticket = issue_ticket(request.user.pk, session=_session_of(request))
        else:
            ticket = issue_ticket(request.user.pk, token.get("exp"), generation=token.get(GENERATION))
        return Response({"ticket": ticket, "expires_in": LIFETIME}, headers={"Cache-Control": "no-store"})


class LogoutEverywhereView(APIView):
    """Ends everything that the user has open: connections, tokens and sessions, this one included."""

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request) -> Response:
        """Log the user out, everywhere."""
        revoke_user(request.user.pk, "logged out everywhere")
        end_sessions(request.user.pk)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _session_of(request: Request) -> LoginSession | None:
    if not isinstance(request.successful_authenticator, SessionAuthentication):
        return None
    opened = open_session(request.COOKIES.get(settings.SESSION_COOKIE_NAME, ""))
    if opened is None:  # only the cookie of a logged-out session is left
        raise NotAuthenticated("The session has ended.")
    return opened[1]
