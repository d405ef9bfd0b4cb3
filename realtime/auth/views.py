"""``/api/ws-ticket/``: a one-time ticket for a token or a session."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from realtime.auth.tickets import LIFETIME, issue_ticket

__all__ = ["TicketView"]


class TicketSerializer(serializers.Serializer):
    """A ticket and the seconds within which it must be used."""

    ticket = serializers.CharField(read_only=True)
    expires_in = serializers.IntegerField(read_only=True)


class TicketView(APIView):
    """Gives an authenticated user a ticket; the token or session that asked for it bounds the connection."""

    @extend_schema(request=None, responses=TicketSerializer)
    def post(self, request: Request) -> Response:
        """Return ``{"ticket": "...", "expires_in": 30}``."""
        token: Any = request.auth  # the access token; None for a session
        expires_at = None if token is None else token.get("exp")
        ticket = issue_ticket(request.user.pk, expires_at)
        return Response({"ticket": ticket, "expires_in": LIFETIME}, headers={"Cache-Control": "no-store"})
