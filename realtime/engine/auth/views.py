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
from realtime.engine.auth.revocation import current_generation
from realtime.engine.auth.serializers import TicketSerializer
from realtime.engine.auth.sessions import Identity, log_out_everywhere, open_session
from realtime.engine.auth.tickets import LIFETIME, issue_ticket


class TicketView(APIView):
    """Gives an authenticated user a ticket; the connection ends with the token or session of the request."""

    @extend_schema(summary="Get a ticket for one connection", request=None, responses=TicketSerializer)
    def post(self, request: Request) -> Response:
        """Return ``{"ticket": "...", "expires_in": 30}``."""
        ticket = issue_ticket(_identity_of(request))
        return Response({"ticket": ticket, "expires_in": LIFETIME}, headers={"Cache-Control": "no-store"})


class LogoutEverywhereView(APIView):
    """Ends everything that the user has open: connections, tokens and sessions, this one included."""

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request) -> Response:
        """Log the user out, everywhere."""
        log_out_everywhere(request.user.pk)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _identity_of(request: Request) -> Identity:
    if isinstance(request.successful_authenticator, SessionAuthentication):
        identity = open_session(request.COOKIES.get(settings.SESSION_COOKIE_NAME, ""))
        if identity is None:  # only the cookie of a logged-out session is left
            raise NotAuthenticated("The session has ended.")
        return identity
    token: Any = request.auth or {}
    generation = token[GENERATION] if GENERATION in token else current_generation(request.user.pk)
    return Identity(request.user, token.get("exp"), generation)
