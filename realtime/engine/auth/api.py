"""``/api/logout-everywhere/``, and how the API schema describes the authentication."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from realtime.engine.auth.revocable import TokenAuthentication
from realtime.engine.auth.revocation import revoke_user
from realtime.engine.auth.sessions import end_sessions

__all__ = ["LogoutEverywhereView"]


class TokenAuthenticationScheme(OpenApiAuthenticationExtension):
    """How the API schema describes it."""

    target_class = TokenAuthentication
    name = "jwtAuth"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the scheme (RFC 6750)."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class LogoutEverywhereView(APIView):
    """Ends everything that the user has open: connections, tokens and sessions, this one included."""

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request) -> Response:
        """Log the user out, everywhere."""
        revoke_user(request.user.pk, "logged out everywhere")
        end_sessions(request.user.pk)
        return Response(status=status.HTTP_204_NO_CONTENT)
