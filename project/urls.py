"""HTTP routes. WebSocket routes stand in realtime/routing.py."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView, TokenVerifyView

from realtime.console import reference as apidocs
from realtime.console import views as pages
from realtime.engine.auth.api import LogoutEverywhereView
from realtime.engine.auth.views import TicketView
from realtime.engine.monitoring.health import healthz, readyz
from realtime.engine.monitoring.metrics import metrics

urlpatterns = [
    path("", pages.home, name="home"),
    path("favicon.ico", pages.favicon, name="favicon"),
    path("rooms/", pages.rooms, name="rooms"),
    path("rooms/<slug:slug>/", pages.room, name="room"),
    path("asyncapi.json", apidocs.asyncapi_json, name="asyncapi"),
    path("api/docs/", apidocs.reference, name="reference"),
    path("login/", LoginView.as_view(template_name="realtime/login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/live/", admin.site.admin_view(pages.live), name="admin-live"),
    path("admin/", admin.site.urls),
    path("api/token/", TokenObtainPairView.as_view(), name="token"),
    path("api/token/refresh/", TokenRefreshView.as_view(), name="token-refresh"),
    path("api/token/verify/", TokenVerifyView.as_view(), name="token-verify"),
    path("api/logout-everywhere/", LogoutEverywhereView.as_view(), name="logout-everywhere"),
    path("api/ws-ticket/", TicketView.as_view(), name="ws-ticket"),
    path("api/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("api/", include("realtime.rooms.urls")),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
