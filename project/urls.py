"""HTTP routes. WebSocket routes stand in realtime/routing.py."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from realtime.console import reference as apidocs
from realtime.console import views as pages
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
    path("api/", include("realtime.engine.auth.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("api/", include("realtime.rooms.urls")),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
