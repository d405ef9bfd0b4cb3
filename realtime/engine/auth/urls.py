"""Tokens, tickets and logging out, below ``/api/``."""

from __future__ import annotations

from django.urls import path
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView, TokenVerifyView

from realtime.engine.auth.views import LogoutEverywhereView, TicketView

urlpatterns = [
    path("token/", TokenObtainPairView.as_view(), name="token"),
    path("token/refresh/", TokenRefreshView.as_view(), name="token-refresh"),
    path("token/verify/", TokenVerifyView.as_view(), name="token-verify"),
    path("logout-everywhere/", LogoutEverywhereView.as_view(), name="logout-everywhere"),
    path("ws-ticket/", TicketView.as_view(), name="ws-ticket"),
]
